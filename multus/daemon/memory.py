"""The memory limit of this process's control group, and how many workers fit into it.

Source: Linux Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst.
"""

from __future__ import annotations

import os

#: Memory of the supervisor, the template and the API process together, and of a worker, in bytes;
#: measured with every plugin of this project.
_BASE, _WORKER = 64 << 20, 8 << 20

#: What a delegate that is a binary may take, with its IPAM plugin: it runs in the same control
#: group, one at a time for each worker.  The reference plugins take 2 MiB.
_PROGRAM = 16 << 20
_LEAST = 4

#: What a program in Go needs at least, with its threads' stacks: 96 MiB, rounded up.
_TO_START = 128 << 20


def affordable(workers: int, limit: int | None) -> int:
    """How many of *workers* fit into *limit* bytes; all of them without a limit.

    Each counts twice, since a stuck worker gets a replacement, and with the program that it runs.
    """
    if limit is None:
        return workers
    fit = (limit - _BASE) // (2 * _WORKER + _PROGRAM)
    return max(min(_LEAST, workers), min(workers, fit))


def of_a_program(limit: int | None) -> int | None:
    """How many bytes a program that a worker starts may allocate; None without a *limit* of all.

    The kubelet sets ``memory.oom.group``, so a program that takes all memory would end the daemon
    with it.  Half of the limit is the daemon's and the other programs'.
    """
    return None if limit is None else max(_TO_START, limit // 2)


def limit_of(groups: str = "/proc/self/cgroup", mount: str = "/sys/fs/cgroup") -> int | None:
    """The smallest memory limit of this process's control group and its parents, or None."""
    found: list[int] = []
    for path, name in _folders(groups, mount):
        while len(path) >= len(mount):
            number = _number(os.path.join(path, name))
            if number is not None:
                found.append(number)
            path = os.path.dirname(path)
    return min(found, default=None)


def _folders(groups: str, mount: str) -> list[tuple[str, str]]:
    """The folders of this process's control groups, each with the name of its limit's file."""
    try:
        with open(groups, encoding="utf-8") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return []
    found = []
    for _hierarchy, controllers, path in lines:
        if not controllers:
            found.append((mount + path.rstrip("/"), "memory.max"))
        elif "memory" in controllers.split(","):
            found.append((f"{mount}/memory{path.rstrip('/')}", "memory.limit_in_bytes"))
    return found


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return None
    # Without a limit, version 2 has "max", and version 1 a huge number.
    return int(text) if text.isdigit() and int(text) < 1 << 60 else None
