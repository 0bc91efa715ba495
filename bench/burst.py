"""What the daemon takes while many pods start at once: as on a node, in a cgroup of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, frozen

from bench.node import Daemon, c_shim, daemon
from bench.pods import namespaces
from bench.tests import ours
from bench.ways import Program
from bench.workload import Workload
from multus.testing.runtime import Container

AT_ONCE, NETWORKS, KIND = 15, 3, "mixed"

#: More than is ever used: it is measured, not limited.
_LIMIT = 4 << 30


@frozen
class Burst:
    """*memory* in bytes is the most that could not be reclaimed; *cpu* in seconds is a pod's."""

    how: str
    memory: int
    cpu: float


def measure(how: str, rounds: int, folder: str, **settings: Any) -> Burst | None:
    """*AT_ONCE* pods' ADDs and DELs by a daemon that has just started; None without a cgroup."""
    with ours("reliability.cgroup").memory_limited(_LIMIT) as cgroup:
        if cgroup.folder is None:
            return None
        place = os.path.join(folder, f"burst-{how}")
        with daemon(place, cgroup.folder, **settings) as running:
            shim = c_shim() or running.python_shim
            way = Program(how, (shim,), how, variables=running.variables)
            work = Workload(NETWORKS, place, KIND)
            _all(way, work, running)  # the first ones read what the later ones have in memory
            with _watched(cgroup.folder) as seen:
                took = [_all(way, work, running) for _ in range(rounds)]
            return Burst(how, seen.most, max(took) / AT_ONCE)


def _all(way: Program, work: Workload, running: Daemon) -> float:
    """Seconds of CPU.  Those of a worker that ends meanwhile are lost: the largest counts."""
    with namespaces(AT_ONCE) as pods, ThreadPoolExecutor(AT_ONCE) as threads:
        containers = [Container(pod.path) for pod in pods]
        before = running.cpu()
        for verb in ("ADD", "DEL"):
            list(threads.map(lambda each, verb=verb: way.call(verb, work, each), containers))
        return running.cpu() - before


@define
class _Seen:
    """The most bytes seen so far."""

    most: int = 0


@contextmanager
def _watched(folder: Path) -> Iterator[_Seen]:
    seen, ended = _Seen(), threading.Event()

    def look() -> None:
        while not ended.wait(0.003):
            seen.most = max(seen.most, _held(folder))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def _held(folder: Path) -> int:
    """Bytes that are charged to a cgroup, without those of files' pages, of either version."""
    stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    current = folder / "memory.current"
    if current.exists():
        return int(current.read_text()) - _file(stat, "file", "shmem")
    usage = int((folder / "memory.usage_in_bytes").read_text())
    return usage - _file(stat, "total_cache", "total_shmem")


def _file(stat: Mapping[str, str], cache: str, shared: str) -> int:
    return int(stat[cache]) - int(stat.get(shared, 0))
