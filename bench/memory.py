"""What each process takes at most, and whether the daemon's memory stays as it is."""

from __future__ import annotations

import os

from attrs import frozen

from bench.node import Daemon
from bench.rounds import round_trip
from bench.ways import Direct, Pods, Program
from bench.workload import Workload, environ
from multus.testing.delegates import real_plugin
from multus.testing.netns import Netns
from multus.testing.runtime import Container


@frozen
class Growth:
    """Bytes of a daemon's processes after this many pods came and went."""

    pods: int
    size: int


def peaks(programs: list[Program], folder: str) -> dict[str, int]:
    """The most bytes that the process of one ADD of one network had resident, by way."""
    found = {}
    work = Workload(1, os.path.join(folder, "peaks"))
    for program in programs:
        pod = Netns.create("bench")
        try:
            container = Container(pod.path)
            stdin = work.conf(program.how, **program.keys)
            variables = {**environ("ADD", container), **program.variables}
            found[program.name] = _peak(list(program.argv), stdin, variables)
            program.call("DEL", work, container)
        finally:
            pod.remove()
    found["the ptp binary"] = _reference(work)
    return found


def _reference(work: Workload) -> int:
    pod = Netns.create("bench")
    try:
        container = Container(pod.path)
        stdin = work.one()
        peak = _peak([str(real_plugin("ptp"))], stdin, environ("ADD", container))
        Direct().call("DEL", work, container)
        return peak
    finally:
        pod.remove()


def _peak(argv: list[str], stdin: bytes, variables: dict[str, str]) -> int:
    """The high-water mark that the process shows of itself, looked at until it ends.

    What wait4 tells begins with the memory of the process that started it.
    """
    copy = os.memfd_create("stdin")
    os.write(copy, stdin)
    os.lseek(copy, 0, os.SEEK_SET)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_DUP2, copy, 0), (os.POSIX_SPAWN_DUP2, nowhere, 1)]
    pid = os.posix_spawn(argv[0], argv, variables, file_actions=actions)
    os.close(copy)
    os.close(nowhere)
    peak = 0
    with open(f"/proc/{pid}/status", "rb", buffering=0) as status:
        while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
            peak = max(peak, _high_water(os.pread(status.fileno(), 4096, 0)))
    if ended[1]:
        raise RuntimeError(f"{argv[0]} failed while its memory was measured")
    return peak


def _high_water(status: bytes) -> int:
    # A process that has ended has no memory, and no such line.
    _, found, rest = status.partition(b"VmHWM:")
    return int(rest.split()[0]) * 1024 if found else 0


def growth(way: Pods, daemon: Daemon, pods: int, folder: str) -> list[Growth]:
    """Let *pods* pods come and go, and look at the daemon four times."""
    work = Workload(1, os.path.join(folder, "growth"))
    found = [Growth(0, daemon.memory())]
    for count in range(1, pods + 1):
        pod = Netns.create("bench")
        try:
            round_trip(way, work, pod)
        finally:
            pod.remove()
        if count % max(1, pods // 4) == 0:
            found.append(Growth(count, daemon.memory()))
    return found
