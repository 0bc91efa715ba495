"""A process and its descendants, and the resources that they use together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from attrs import frozen

#: Names of the daemon's processes that carry out calls.
WORKER = b"worker"


@frozen
class Uses:
    """The resources of a group of processes; ``memory`` is in KiB, shared pages count once.

    ``surroundings`` are the working directories, umasks, standard streams and network namespaces of
    its threads.
    """

    memory: int
    descriptors: int
    threads: int
    surroundings: frozenset[str]

    @classmethod
    def of(cls, root: int) -> Uses:
        """The sums over *root* and its descendants, without processes that end meanwhile."""
        memory = descriptors = threads = 0
        surroundings: set[str] = set()
        for pid in family_of(root):
            with suppress(OSError):
                folder = Path(f"/proc/{pid}")
                memory += _line(folder / "smaps_rollup", "Pss:", 10)
                descriptors += len(os.listdir(folder / "fd"))
                threads += len(os.listdir(folder / "task"))
                surroundings.update(_surroundings(folder))
        return cls(memory, descriptors, threads, frozenset(surroundings))

    def exceeded_by(self, now: Uses, allowed: Uses) -> list[str]:
        """The resources by which *now* exceeds this by more than *allowed*."""
        pairs = {
            "memory": (self.memory, now.memory, allowed.memory),
            "descriptors": (self.descriptors, now.descriptors, allowed.descriptors),
            "threads": (self.threads, now.threads, allowed.threads),
        }
        more = [f"{what}: {a} became {b}" for what, (a, b, most) in pairs.items() if b > a + most]
        return more + sorted(now.surroundings - self.surroundings)


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
    """The descendants of the daemon *root* that carry out calls."""
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


def _surroundings(folder: Path) -> Iterator[str]:
    """The values of one process."""
    yield f"working directory {os.readlink(folder / 'cwd')}"
    yield f"umask {_line(folder / 'status', 'Umask:', 8):03o}"
    for number in range(3):
        stream = folder / "fd" / str(number)
        yield f"descriptor {number} {os.readlink(stream) if stream.is_symlink() else 'closed'}"
    for thread in os.listdir(folder / "task"):
        with suppress(OSError):
            yield f"network namespace {os.readlink(folder / 'task' / thread / 'ns' / 'net')}"


def _line(path: Path, key: str, base: int) -> int:
    lines = (line.split() for line in path.read_text().splitlines())
    return next((int(words[1], base) for words in lines if words[:1] == [key]), 0)
