"""What a call costs: `./dev bench`.

Every way carries the same work out in turn, round after round, so that what disturbs one disturbs
all; the figures are medians. Everything happens in network namespaces of its own.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench import burst, load, memory, page, rounds, sandboxes, startup
from bench.report import Report
from bench.subjects import Subjects
from bench.ways import Direct, Program, Way
from bench.workload import KINDS, Workload, unserved
from multus.netlink import Namespace
from multus.testing.delegates import real_plugin
from multus.testing.netns import Node

#: How often a burst is repeated.
_BURSTS = 3


class Part(NamedTuple):
    """A part of the run: what it measures, and how."""

    title: str
    measure: Callable[[], None]


def main(argv: Sequence[str]) -> int:
    """Measure and write; the status is 1 when a part failed: the others are written."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    report = Report(peers=[each.name for each in options.peer])
    with ExitStack() as stack:
        node = stack.enter_context(_node())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="multus-bench-"))
        run = _Run(options, report, Subjects(stack, folder), node, folder)
        parts = list(run.parts())
        for kind in unserved():
            print(f"bench: rows 'in-process' start {kind}: no plugin attaches it", file=sys.stderr)
        failed = run_all(parts)
    print(page.whole(report))
    if options.out:
        page.write(report, Path(options.out))
    for each in failed:
        print(f"bench: failed, and not written: {each}", file=sys.stderr)
    return 1 if failed else 0


def run_all(parts: Sequence[Part]) -> list[str]:
    """Measure all parts; returns the titles of those that failed, whose errors are printed."""
    began, failed = time.monotonic(), []
    for place, part in enumerate(parts, 1):
        seconds = int(time.monotonic() - began)
        passed = f"{seconds // 60}:{seconds % 60:02}"
        print(f"bench: {passed} {place:>2}/{len(parts)} {part.title}", file=sys.stderr)
        try:
            part.measure()
        except Exception:  # noqa: BLE001 - the other parts are measured nevertheless
            traceback.print_exc()
            failed.append(part.title)
    return failed


@contextmanager
def _node() -> Iterator[Node]:
    """A namespace that stands for the host; this thread and all that it starts are in it."""
    with ExitStack() as stack:
        node = Node.create("bench-node")
        stack.callback(node.remove)
        stack.enter_context(stack.enter_context(Namespace(node.path)).entered())
        yield node


class _Run:
    """Measures what the options ask for, and enters it in the report."""

    def __init__(
        self,
        options: argparse.Namespace,
        report: Report,
        subjects: Subjects,
        node: Node,
        folder: str,
    ) -> None:
        self._options = options
        self._report = report
        self._subjects = subjects
        self._node = node
        self._folder = folder

    def parts(self) -> Iterator[Part]:
        """All parts in order."""
        yield Part("the start of processes", self._starts)
        for kind in self._options.kinds:
            for networks in (1,) if kind == "chain" else self._options.networks:
                title = f"{kind}, {networks} network{'s' * (networks > 1)}"
                yield Part(title, partial(self._kind, kind, networks))
        yield Part("STATUS, first calls, requests to the API server", self._singles)
        for at_once in self._options.at_once:
            yield Part(f"pods at once: {at_once}", partial(self._load, at_once))
        against = sandboxes.reason_against()
        if against:
            print(f"bench: no pods of containerd are measured: {against}", file=sys.stderr)
        elif self._options.sandboxes:
            yield Part(f"pods of containerd, {sandboxes.AT_ONCE} at once", self._sandboxes)
        yield Part(f"the daemon in a burst of {burst.AT_ONCE} pods", self._bursts)
        yield Part(f"memory, {self._options.grow} pods", self._memory)

    def _starts(self) -> None:
        self._report.starts = startup.starts(self._options.rounds)
        self._report.imports = startup.imports(Workload(1, self._folder))

    def _kind(self, kind: str, networks: int) -> None:
        subjects, options = self._subjects, self._options
        # How the shims and standalone compare depends little on the kind of network.
        ours = subjects.ways() if kind == "ptp" else subjects.few_ways()
        ways: list[Way] = [Direct(), *ours, *options.peer]
        # A round of many networks takes seconds, and differs less from the next one.
        turns = options.rounds if networks < 8 else max(1, options.rounds // 3)
        self._report.figures += rounds.measure(ways, kind, networks, turns, self._folder)

    def _singles(self) -> None:
        self._report.status = self._subjects.status(self._options.rounds)
        self._report.cold = self._subjects.cold()
        self._report.api = self._subjects.api_calls()

    def _load(self, at_once: int) -> None:
        ways = [Direct(), *self._subjects.few_ways(), *self._options.peer]
        pods = max(self._options.pods, at_once)
        self._report.loads += load.measure(ways, at_once, pods, self._folder)

    def _sandboxes(self) -> None:
        whereabouts = self._options.whereabouts
        if whereabouts is None:
            print("bench: no row of whereabouts' binary: it is not installed", file=sys.stderr)
        rows = self._subjects.sandboxes(self._options.peer, whereabouts)
        turns = self._options.sandboxes
        self._report.sandboxes = sandboxes.measure(
            rows, self._subjects.cluster, self._node, turns, self._folder
        )

    def _bursts(self) -> None:
        for how in ("in-process", "exec"):
            found = burst.measure(how, _BURSTS, self._folder)
            self._report.bursts += [found] if found else []

    def _memory(self) -> None:
        subjects = self._subjects
        programs = [*subjects.programs(), *self._options.peer]
        self._report.peaks = memory.peaks(programs, self._folder)
        self._report.growth = memory.growth(
            subjects.pods, subjects.daemon, self._options.grow, self._folder
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="how often (30)")
    parser.add_argument(
        "--kinds", nargs="+", default=list(KINDS), choices=KINDS, help="of networks (all)"
    )
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 4, 16], metavar="N")
    parser.add_argument("--at-once", type=int, nargs="*", default=[8, 64], metavar="PODS")
    parser.add_argument("--pods", type=int, default=64, help="how many under load (64)")
    parser.add_argument(
        "--sandboxes",
        type=int,
        default=5,
        metavar="TIMES",
        help="how often containerd starts pods for each row (5); 0 for never",
    )
    parser.add_argument(
        "--whereabouts",
        metavar="PATH",
        type=_program,
        default=real_plugin("whereabouts"),
        help="whereabouts' binary (where CNI plugins are)",
    )
    parser.add_argument(
        "--grow", type=int, default=1000, help="pods for the daemon's memory (1000)"
    )
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PATH", type=_peer)
    parser.add_argument(
        "--out",
        default="docs/_static",
        metavar="FOLDER",
        help="where bench.json and its pages are written (docs/_static); empty for nowhere",
    )
    return parser


def _peer(text: str) -> Program:
    name, _, path = text.partition("=")
    return Program(name, (_program(path),))


def _program(path: str) -> str:
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise argparse.ArgumentTypeError(f"{path!r} is not a program")
    return os.path.abspath(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
