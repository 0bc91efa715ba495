"""A process and all that descend from it: who they are, and what they use together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from attrs import frozen

#: What the daemon calls the processes that carry calls out, in their name or what they run as.
WORKER = b"worker"


@frozen
class Uses:
    """What a family of processes uses; ``memory`` is in KiB, shared pages counted once."""

    memory: int
    descriptors: int
    threads: int
    processes: int

    @classmethod
    def of(cls, root: int) -> Uses:
        """The sums over *root* and its descendants; one that ends meanwhile is left out."""
        family = [found for pid in family_of(root) if (found := _one(pid)) is not None]
        sums = [sum(each) for each in zip(*family, strict=True)] or [0, 0, 0]
        return cls(sums[0], sums[1], sums[2], len(family))


def family_of(root: int) -> list[int]:
    """*root* and its descendants, parents before children; without zombies."""
    children: dict[int, list[int]] = {}
    for pid, parent, state in _all():
        if state != "Z":
            children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def workers_of(root: int) -> list[int]:
    """The descendants of the daemon *root* that carry calls out."""
    return [pid for pid in family_of(root)[1:] if WORKER in _name(pid)]


def _name(pid: int) -> bytes:
    with suppress(OSError):
        folder = Path(f"/proc/{pid}")
        argument = (folder / "cmdline").read_bytes().partition(b"\0")[0]
        return (folder / "comm").read_bytes() + argument
    return b""


def _all() -> Iterator[tuple[int, int, str]]:
    """Every process: its ID, its parent's, and its state's letter."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                rest = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                yield int(name), int(rest[1]), rest[0]


def _one(pid: int) -> tuple[int, int, int] | None:
    folder = Path(f"/proc/{pid}")
    try:
        memory = _line(folder / "smaps_rollup", "Pss:")
        return memory, len(os.listdir(folder / "fd")), _line(folder / "status", "Threads:")
    except OSError:
        return None


def _line(path: Path, key: str) -> int:
    lines = (line.split() for line in path.read_text().splitlines())
    return next((int(words[1]) for words in lines if words[:1] == [key]), 0)
