"""What a call costs: `./dev bench`.

Every way carries the same work out in turn, round after round, so that what disturbs one disturbs
all; the figures are medians. Everything happens in network namespaces of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from attrs import asdict, frozen

from bench import startup
from bench.ways import Direct, Program, Way
from bench.workload import Workload
from multus.testing.command import output
from multus.testing.netns import Netns
from multus.testing.runtime import Container, installed_program

_CLONE_NEWNET = 0x40000000


@frozen
class Figure:
    """One way's medians for a number of networks, in seconds, and over direct execution."""

    way: str
    networks: int
    add: float
    delete: float
    add_ratio: float
    delete_ratio: float


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="how often (30)")
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 4, 16], metavar="N")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PATH", type=_peer)
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    options = parser.parse_args(argv)
    _enter_a_network_of_our_own()
    with tempfile.TemporaryDirectory(prefix="multus-bench-") as folder:
        starts = startup.starts(options.rounds)
        _print_starts(starts)
        imported = startup.imports(Workload(1, folder))
        _print_imports(imported)
        figures = [
            figure
            for networks in options.networks
            for figure in measure([Direct(), *ways(), *options.peer], networks, options, folder)
        ]
    _print_figures(figures)
    if options.json:
        rows = [asdict(each) for each in figures]
        report = {"starts": starts, "imports": asdict(imported), "figures": rows}
        with open(options.json, "w", encoding="utf-8") as target:
            json.dump(report, target, indent=2)
    return 0


def ways() -> list[Way]:
    """What of ours is measured."""
    invokers = {"exec": "exec", "in-process": "ptp"}
    return [
        Program(f"standalone, {how}", installed_program(), {"invokers": {"ptp": invoker}})
        for how, invoker in invokers.items()
    ]


def measure(each: Sequence[Way], networks: int, options: Any, folder: str) -> list[Figure]:
    """ADD and DEL by every way in turn; the first way is what the others are compared with."""
    times: dict[str, tuple[list[float], list[float]]] = {way.name: ([], []) for way in each}
    for turn in range(options.rounds + 1):
        for place, way in enumerate(each):
            # Each way has stores of its own: a used-up range of one must not slow another.
            work = Workload(networks, os.path.join(folder, str(place)))
            add, delete = _round_trip(way, work)
            if turn:  # the first round only warms caches up
                times[way.name][0].append(add)
                times[way.name][1].append(delete)
    medians = {name: tuple(map(statistics.median, both)) for name, both in times.items()}
    add, delete = medians[each[0].name]
    return [
        Figure(name, networks, ours[0], ours[1], ours[0] / add, ours[1] / delete)
        for name, ours in medians.items()
    ]


def _round_trip(way: Way, work: Workload) -> tuple[float, float]:
    pod = Netns.create("bench")
    try:
        container = Container(pod.path)
        return way.call("ADD", work, container), way.call("DEL", work, container)
    finally:
        pod.remove()


def _enter_a_network_of_our_own() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        sys.exit(f"bench: no network namespace: {os.strerror(ctypes.get_errno())}: run it as root")
    output(["ip", "link", "set", "lo", "up"])


def _peer(text: str) -> Program:
    name, _, path = text.partition("=")
    if not os.access(path, os.X_OK):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=PATH of a program")
    return Program(name, (path,))


def _print_starts(starts: dict[str, float]) -> None:
    print("Start-up, ms")
    for name, seconds in starts.items():
        print(f"  {name:<24} {seconds * 1000:7.1f}")


def _print_imports(imported: startup.Imports) -> None:
    took = f"{imported.seconds * 1000:.1f} ms"
    print(f"\nOne ADD imports {imported.count} modules in {took}; by themselves:")
    for name, seconds in imported.longest:
        print(f"  {name:<32} {seconds * 1000:6.2f}")


def _print_figures(figures: Sequence[Figure]) -> None:
    print("\nMedians, ms, and over direct exec of the same delegates in the same run")
    print(f"  {'':<28} {'networks':>8} {'ADD':>9} {'':>6} {'DEL':>9} {'':>6}")
    for each in figures:
        print(
            f"  {each.way:<28} {each.networks:>8}"
            f" {each.add * 1000:>9.1f} {each.add_ratio:>5.2f}x"
            f" {each.delete * 1000:>9.1f} {each.delete_ratio:>5.2f}x"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
