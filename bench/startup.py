"""What the program costs before it does anything: the interpreter's start, and its imports."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from attrs import frozen

from bench.ways import ALONE, run
from bench.workload import Workload, environ
from multus.api.execute import Executor
from multus.testing.netns import Netns
from multus.testing.runtime import Container, installed_program


@frozen
class Imports:
    """The modules that one ADD imports: how many, how long, and the longest by themselves."""

    count: int
    seconds: float
    longest: tuple[tuple[str, float], ...]


def starts(rounds: int) -> dict[str, float]:
    """Median seconds of processes that do nothing yet, taken in turn."""
    nowhere = environ("VERSION", Container("/none"))
    rows: dict[str, Callable[[], bytes]] = {
        "python -I -S": lambda: run([sys.executable, "-I", "-S", "-c", ""], b"", {}),
        "python -I": lambda: run([sys.executable, "-I", "-c", ""], b"", {}),
        "python -I, importing json, attrs, pluggy": lambda: run(
            [sys.executable, "-I", "-c", "import json, attrs, pluggy"], b"", {}
        ),
        "multus, VERSION": lambda: run(installed_program(), b"", nowhere),
    }
    times: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, start in rows.items():
            begin = time.perf_counter()
            start()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(each) for name, each in times.items()}


def imports(work: Workload) -> Imports:
    """Let Python say what one ADD imports (which slows the imports down a little)."""
    pod = Netns.create("bench")
    try:
        container = Container(pod.path)
        # The first call after an installation writes the index of plugins and the byte code.
        for command in ("ADD", "DEL"):
            run(installed_program(), work.conf(), {**environ(command, container), **ALONE})
        argv = [sys.executable, "-X", "importtime", *installed_program()]
        add = {**environ("ADD", container), **ALONE}
        finished = Executor(()).run(argv, work.conf(logToStderr=False), add, timeout=60)
        run(installed_program(), work.conf(), {**environ("DEL", container), **ALONE})
    finally:
        pod.remove()
    own = dict(_lines(finished.stderr.decode()))
    longest = sorted(own.items(), key=lambda each: -each[1])[:12]
    return Imports(len(own), sum(own.values()), tuple(longest))


def _lines(text: str) -> list[tuple[str, float]]:
    """``import time: self [us] | cumulative | name`` as ``(name, seconds by itself)``."""
    prefix = "import time:"
    rows = [line[len(prefix) :].split("|") for line in text.splitlines() if line.startswith(prefix)]
    return [(row[2].strip(), int(row[0]) / 1e6) for row in rows if row[0].strip().isdigit()]
