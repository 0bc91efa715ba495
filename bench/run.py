"""What a call costs: `./dev bench`.

Every way carries the same work out in turn, round after round, so that what disturbs one disturbs
all; the figures are medians. Everything happens in network namespaces of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack

from attrs import asdict

from bench import load, memory, page, plot, rounds, startup
from bench.node import Cluster, Daemon, c_shim, cluster, daemon
from bench.pods import namespaces
from bench.report import Report
from bench.ways import Direct, Pods, Program, Way
from bench.workload import Workload
from multus.testing.command import output
from multus.testing.netns import Netns
from multus.testing.runtime import Container, installed_program

_CLONE_NEWNET = 0x40000000
_INVOKERS = {"exec": {"invokers": {"ptp": "exec"}}, "in-process": {"invokers": {"ptp": "ptp"}}}


def main(argv: Sequence[str]) -> int:
    options = _parser().parse_args(argv)
    _enter_a_network_of_our_own()
    report = Report()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="multus-bench-"))
        report.starts = startup.starts(options.rounds)
        _print_starts(report.starts)
        report.imports = startup.imports(Workload(1, folder))
        _print_imports(report.imports)
        node = Node(stack, folder)
        ways: list[Way] = [Direct(), *node.ways(), *options.peer]
        for networks in options.networks:
            report.figures += rounds.measure(ways, networks, options.rounds, folder)
        _print_figures(report.figures)
        report.status = node.status(options.rounds)
        print(f"\nSTATUS through the C shim: {report.status * 1000:.2f} ms of the daemon's time")
        report.cold = node.cold()
        _print_seconds("\nThe first ADD of one network after a start, ms", report.cold)
        report.api = node.api_calls()
        _print_api(report.api)
        for at_once in options.at_once:
            ways = [Direct(), *node.loaded_ways(), *options.peer]
            report.loads += load.measure(ways, 4, at_once, max(options.pods, at_once), folder)
        _print_loads(report.loads)
        report.peaks = memory.peaks([*node.programs(), *options.peer], folder)
        report.growth = memory.growth(node.pods, node.daemon, options.grow, folder)
        _print_memory(report)
    _write(report, options.out)
    return 0


class Node:
    """What is measured: a daemon, an API server, and the ways to them."""

    def __init__(self, stack: ExitStack, folder: str) -> None:
        self._folder = folder
        self.cluster: Cluster = stack.enter_context(cluster(os.path.join(folder, "api")))
        settings = {"kubeconfig": self.cluster.kubeconfig}
        self.daemon: Daemon = stack.enter_context(
            daemon(os.path.join(folder, "daemon"), **settings)
        )
        self.pods = self._pods("in-process, C shim, API", "in-process", self._shim())

    def programs(self) -> list[Program]:
        """Every way in without an API server."""
        through = {"C shim": self._shim(), "Python shim": self.daemon.python_shim}
        return [
            *(
                Program(f"{how}, {name}", (path,), keys, self.daemon.variables)
                for name, path in through.items()
                for how, keys in _INVOKERS.items()
            ),
            *(
                Program(f"{how}, standalone", installed_program(), keys)
                for how, keys in _INVOKERS.items()
            ),
        ]

    def ways(self) -> list[Way]:
        """What is measured one pod at a time; those with an API server write statuses too."""
        return [
            self.pods,
            self._pods("in-process, Python shim, API", "in-process", self.daemon.python_shim),
            self._pods("exec, C shim, API", "exec", self._shim()),
            *self.programs(),
        ]

    def loaded_ways(self) -> list[Way]:
        """What is measured under load."""
        exec_pods = self._pods("exec, C shim, API", "exec", self._shim())
        plain = Program(
            "in-process, C shim", (self._shim(),), _INVOKERS["in-process"], self.daemon.variables
        )
        return [plain, self.pods, exec_pods]

    def cold(self) -> dict[str, float]:
        """The first ADD that a process carries out."""
        found = {}
        work = Workload(1, os.path.join(self._folder, "cold"))
        with daemon(os.path.join(self._folder, "fresh")) as fresh:
            first = Program("daemon", (self._shim(),), _INVOKERS["in-process"], fresh.variables)
            found["daemon, just started"] = _once(first, work)
        index = _plugin_index()
        if index:
            os.unlink(index)
        program = Program("standalone", installed_program(), _INVOKERS["in-process"])
        found["standalone, plugins looked for anew"] = _once(program, work)
        return found

    def status(self, turns: int) -> float:
        """The daemon's own mean seconds for a STATUS, as its metrics have them."""
        work = Workload(1, os.path.join(self._folder, "status"))
        keys = {**_INVOKERS["in-process"], "cniVersion": "1.1.0"}
        way = Program("STATUS", (self._shim(),), keys, self.daemon.variables)
        before = self.daemon.spent("STATUS")
        for _ in range(turns):
            way.call("STATUS", work, Container("/none"))
        return (self.daemon.spent("STATUS") - before) / turns

    def api_calls(self) -> dict[str, int]:
        """What one warm ADD of four networks asks of the API server, by method."""
        work = Workload(4, os.path.join(self._folder, "api-calls"))
        pod = Netns.create("bench")
        try:
            container = self.pods.container(work, pod)
            self.cluster.requests()
            self.pods.call("ADD", work, container)
            found: dict[str, int] = {"GET": 0}
            for key, count in self.cluster.requests().items():
                method = key.partition(" ")[0]
                found[method] = found.get(method, 0) + count
            self.pods.call("DEL", work, container)
            self.pods.forget(container)
        finally:
            pod.remove()
        return found

    def _shim(self) -> str:
        return c_shim() or self.daemon.python_shim

    def _pods(self, name: str, how: str, shim: str) -> Pods:
        program = Program(name, (shim,), _INVOKERS[how], self.daemon.variables)
        return Pods(name, program, self.cluster, self.daemon)


def _once(way: Way, work: Workload) -> float:
    with namespaces(1) as pods:
        return rounds.round_trip(way, work, pods[0])[0]


def _plugin_index() -> str | None:
    import multus

    cache = os.path.join(os.path.dirname(multus.__file__), "__pycache__")
    found = [name for name in os.listdir(cache) if name.startswith("plugins.")]
    return os.path.join(cache, found[0]) if found else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="how often (30)")
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 4, 16], metavar="N")
    parser.add_argument("--at-once", type=int, nargs="*", default=[1, 8, 64], metavar="PODS")
    parser.add_argument("--pods", type=int, default=64, help="how many under load (64)")
    parser.add_argument(
        "--grow", type=int, default=2000, help="pods for the daemon's memory (2000)"
    )
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PATH", type=_peer)
    parser.add_argument(
        "--out",
        default="docs/_static",
        metavar="FOLDER",
        help="where bench.json, .svg and .md are written (docs/_static); empty for nowhere",
    )
    return parser


def _peer(text: str) -> Program:
    name, _, path = text.partition("=")
    if not os.access(path, os.X_OK):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=PATH of a program")
    return Program(name, (path,))


def _enter_a_network_of_our_own() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        sys.exit(f"bench: no network namespace: {os.strerror(ctypes.get_errno())}: run it as root")
    output(["ip", "link", "set", "lo", "up"])


def _write(report: Report, folder: str) -> None:
    if not folder:
        return
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "bench.json"), "w", encoding="utf-8") as target:
        json.dump(asdict(report), target, indent=1)
        target.write("\n")
    with open(os.path.join(folder, "bench.svg"), "w", encoding="utf-8") as target:
        target.write(plot.svg(report.figures))
    with open(os.path.join(folder, "bench.md"), "w", encoding="utf-8") as target:
        target.write(page.markdown(report))


# --- Tables ---------------------------------------------------------------------------------------


def _print_starts(starts: dict[str, float]) -> None:
    _print_seconds("Start-up, ms", starts)


def _print_seconds(title: str, rows: dict[str, float]) -> None:
    print(title)
    for name, seconds in rows.items():
        print(f"  {name:<40} {seconds * 1000:7.1f}", flush=True)


def _print_imports(imported: startup.Imports) -> None:
    took = f"{imported.seconds * 1000:.1f} ms"
    print(f"\nOne ADD imports {imported.count} modules in {took}; by themselves:")
    for name, seconds in imported.longest:
        print(f"  {name:<32} {seconds * 1000:6.2f}")


def _print_figures(figures: Sequence[rounds.Figure]) -> None:
    print("\nMedians, ms, and over direct exec of the same delegates in the same run")
    print(f"  {'':<28} {'networks':>8} {'ADD':>9} {'':>6} {'DEL':>9} {'':>6}")
    for each in figures:
        print(
            f"  {each.way:<28} {each.networks:>8}"
            f" {each.add * 1000:>9.1f} {each.add_ratio:>5.2f}x"
            f" {each.delete * 1000:>9.1f} {each.delete_ratio:>5.2f}x",
            flush=True,
        )


def _print_api(calls: dict[str, int]) -> None:
    listed = ", ".join(f"{count} {method}" for method, count in sorted(calls.items()))
    print(f"\nA warm ADD of four networks asks the API server for: {listed}")


def _print_loads(loads: Sequence[load.Load]) -> None:
    print("\nMany pods of four networks at once: pods per second, ms of one call")
    print(f"  {'':<28} {'':<4} {'at once':>8} {'per s':>8} {'':>6} {'p50':>8} {'p99':>8}")
    for each in loads:
        print(
            f"  {each.way:<28} {each.verb:<4} {each.at_once:>8} {each.per_second:>8.1f}"
            f" {each.ratio:>5.2f}x {each.p50 * 1000:>8.1f} {each.p99 * 1000:>8.1f}",
            flush=True,
        )


def _print_memory(report: Report) -> None:
    print("\nPeak memory, MB")
    for name, size in report.peaks.items():
        print(f"  {name:<28} {size / 1e6:8.1f}")
    print("The daemon after so many pods, MB")
    for each in report.growth:
        print(f"  {each.pods:<28} {each.size / 1e6:8.1f}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
