"""What an attachment costs in a long-lived process, beside starting the reference's binary.

Both ways do the same work in turn, round after round, so that what disturbs one disturbs the other:
ptp with host-local addresses, on a host and for pods in network namespaces of their own.  Run it as
root: ``python -m bench.attach``.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

from attrs import define, field, frozen
from multus_invoker_ptp import attach, invoker
from multus_invoker_ptp.invoker import Ptp

from bench.ways import Direct
from bench.workload import VERSION, Workload
from multus import ipam
from multus.api.network import Invocation
from multus.netlink import Namespace, Transport
from multus.testing.invocation import Caller
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Container

#: What is wanted of ours, as parts of what the reference takes: ADD of one, DEL of sixteen.
WANTED = {("ADD", 1): 0.30, ("DEL", 16): 0.15}


@frozen
class InProcess:
    """The invoker, called as the engine calls it."""

    ptp: Ptp = field(factory=Ptp)

    def call(self, command: str, work: Workload, container: Container) -> float:
        """Carry *command* out for all networks; returns the seconds that it took."""
        invocations = [
            _invocation(command, conf, container, "eth0" if not index else f"net{index - 1}")
            for index, conf in enumerate(work.delegates())
        ]
        begin = time.perf_counter()
        if command == "ADD":
            for each in invocations:
                self.ptp.add(each)
        else:
            errors = [each for each in self.ptp.delete(invocations[::-1]) if each is not None]
            if errors:
                raise errors[0]
        return time.perf_counter() - begin


def _invocation(
    command: str, conf: dict[str, Any], container: Container, ifname: str
) -> Invocation:
    caller = Caller(container.id, container.netns, ifname)
    return caller.invocation(command, {"cniVersion": VERSION, **conf})


# --- What the time is spent on ------------------------------------------------------------------


@define
class Clock:
    """Seconds, by what they were spent on."""

    spent: dict[str, float] = field(factory=dict)

    def booked(self, what: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same work, with its time booked."""

        def timed(*args: Any) -> Any:
            begin = time.perf_counter()
            try:
                return work(*args)
            finally:
                took = time.perf_counter() - begin
                self.spent[what] = self.spent.get(what, 0.0) + took

        return timed


class Timed(Transport):
    """A transport that books the kernel's time."""

    def __init__(self, sock: socket.socket, clock: Clock) -> None:
        super().__init__(sock)
        self._sent = clock.booked("kernel", super().send)
        self._received = clock.booked("kernel", super().receive)

    def send(self, messages: Sequence[bytes]) -> None:
        self._sent(messages)

    def receive(self) -> bytes:
        return bytes(self._received())


def split(rounds: int, folder: str) -> dict[str, float]:
    """The medians of an ADD's parts, in seconds: IPAM, encoding, kernel, and the rest."""
    parts: dict[str, list[float]] = {"IPAM": [], "encoding": [], "kernel": [], "rest": []}
    for _ in range(rounds):
        clock = Clock()
        way = InProcess(Ptp(partial(Timed, clock=clock)))
        total, spent = _parts_of_one(clock, way, Workload(1, folder))
        netlink, sysctls = spent["kernel"], spent["sysctl"]
        encoding = spent["connect"] - netlink - sysctls
        parts["IPAM"].append(spent["IPAM"])
        parts["encoding"].append(encoding)
        parts["kernel"].append(netlink + sysctls)
        parts["rest"].append(total - spent["IPAM"] - spent["connect"])
    return {name: statistics.median(each) for name, each in parts.items()}


def _parts_of_one(clock: Clock, way: InProcess, work: Workload) -> tuple[float, dict[str, float]]:
    def for_plugin(invocation: Invocation, real: Any = ipam.for_plugin) -> Any:
        pool = real(invocation)
        return SimpleNamespace(add=clock.booked("IPAM", pool.add), delete=pool.delete)

    with ExitStack() as stack:
        for where, name, replaced in (
            (ipam, "for_plugin", for_plugin),
            (invoker.Ptp, "_connect", _method(clock, "connect", invoker.Ptp._connect)),
            (attach, "prepare_host", clock.booked("sysctl", attach.prepare_host)),
        ):
            stack.enter_context(mock.patch.object(where, name, replaced))
        pod = Netns.create("bench")
        stack.callback(pod.remove)
        container = Container(pod.path)
        took = way.call("ADD", work, container)
        spent = dict(clock.spent)
        way.call("DEL", work, container)
        return took, spent


def _method(clock: Clock, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    booked = clock.booked(what, function)
    return lambda *args: booked(*args)


# --- The report ---------------------------------------------------------------------------------


def measure(networks: int, rounds: int, folder: str) -> dict[str, list[float]]:
    """The medians of each way's ADD and DEL, in seconds."""
    ways: dict[str, Direct | InProcess] = {"exec": Direct(), "in-process": InProcess()}
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            work = Workload(networks, os.path.join(folder, name))
            pod = Netns.create("bench")
            try:
                container = Container(pod.path)
                both = way.call("ADD", work, container), way.call("DEL", work, container)
            finally:
                pod.remove()
            if turn:  # the first round only warms caches up
                for series, took in zip(times[name], both, strict=True):
                    series.append(took)
    return {name: [statistics.median(each) for each in both] for name, both in times.items()}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.attach", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="how often (30)")
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 4, 16], metavar="N")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    options = parser.parse_args(argv)
    with ExitStack() as stack:
        node = Node.create("benchhost")
        stack.callback(node.remove)
        stack.enter_context(stack.enter_context(Namespace(node.path)).entered())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="multus-bench-"))
        figures = {each: measure(each, options.rounds, folder) for each in options.networks}
        parts = split(options.rounds, os.path.join(folder, "split"))
    _print(figures, parts)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as target:
            json.dump({"medians": figures, "parts": parts}, target, indent=2)
    return 0


def _print(figures: dict[int, dict[str, list[float]]], parts: dict[str, float]) -> None:
    print("Medians, ms: the reference's binary started for each network, and in-process")
    print(f"  {'':<4} {'networks':>8} {'exec':>9} {'in-process':>11} {'ratio':>6}  wanted")
    for networks, medians in figures.items():
        for place, verb in enumerate(("ADD", "DEL")):
            theirs, ours = medians["exec"][place], medians["in-process"][place]
            wanted = WANTED.get((verb, networks))
            print(
                f"  {verb:<4} {networks:>8} {theirs * 1000:>9.2f} {ours * 1000:>11.2f}"
                f" {ours / theirs:>6.3f}  {'' if wanted is None else f'<= {wanted:.2f}'}"
            )
    print("\nAn ADD of one network in-process, ms")
    for name, seconds in parts.items():
        print(f"  {name:<10} {seconds * 1000:>7.3f}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
