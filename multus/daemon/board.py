"""Shared memory: each worker writes its current step, the supervisor reads it.

It is a memfd that every process of the daemon maps.  The supervisor writes the first page:  how
many calls wait or run, whether an ADD has to wait, and which containers have a call under way (the
CRC-32 of each ID).  The API process writes the second page:  the pods with a queued annotation
(CRC-32 too).  Then follows a slot for each worker::

    offset  bytes
         0      8  number of changes: a reader sees whether a slot changed while it read
         8      8  start of the step (seconds of time.monotonic(), the same in all processes)
        16      8  deadline of the step; 0 when no step runs
        24      1  1: the worker waits for something outside the process
        25      1  1: the worker is sending the answer, or has sent it
        26      2  length of the text
        28      1  length of the plugin's name; 0 when no plugin's code runs
        29      1  length of the task's name: a hook, or a verb of an invoker
        30         the text (what the step does), the plugin's name, the task's name; UTF-8
"""

from __future__ import annotations

import mmap
import os
import struct
from binascii import crc32
from collections.abc import Collection
from typing import Any

from attrs import frozen

from multus.api import progress

_PAGE, _SLOT = 4096, 512
#: Retries when a slot changes while it is read.
_READS = 8
_SLOTS = 2 * _PAGE
_HEAD = struct.Struct("=QddBBHBB")
_LONGEST_NAME = 64
_LONGEST = _SLOT - _HEAD.size - 2 * _LONGEST_NAME
_COUNT = struct.Struct("=Q")
_ALL = 0xFFFFFFFF
#: Number of calls, whether ADDs have to wait, number of containers; then their checksums.
_FRONT = struct.Struct("=QII")
_MOST_CONTAINERS = (_PAGE - _FRONT.size) // 4


@frozen
class Sight:
    """The content of a slot.

    ``plugin`` and ``task`` say whose code runs, as ``multus.api.progress.Task`` does.  They are
    empty when no plugin's code runs.
    """

    changes: int = 0
    began: float = 0.0
    until: float = 0.0
    waits: bool = False
    answering: bool = False
    what: str = ""
    plugin: str = ""
    task: str = ""


class Board:
    """The shared memory; *descriptor* is its memfd, with ``slots`` slots."""

    def __init__(self, descriptor: int, slots: int) -> None:
        self.descriptor = descriptor
        self.slots = slots
        self._memory = mmap.mmap(descriptor, _SLOTS + slots * _SLOT)

    @classmethod
    def create(cls, slots: int) -> Board:
        """A new board; processes that inherit its descriptor map it under the same number."""
        descriptor = os.memfd_create("multus-board", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _SLOTS + slots * _SLOT)
        return cls(descriptor, slots)

    @property
    def calls(self) -> int:
        """How many calls wait or run."""
        return int(_COUNT.unpack_from(self._memory, 0)[0])

    def publish(self, calls: int, containers: Collection[str], *, adds_wait: bool) -> None:
        """Write how many calls there are, and what has to wait."""
        sums = [crc32(each.encode(errors="replace")) for each in containers][:_MOST_CONTAINERS]
        struct.pack_into(f"={len(sums)}I", self._memory, _FRONT.size, *sums)
        _FRONT.pack_into(self._memory, 0, calls, adds_wait, len(sums))

    def may_begin(self, command: str, container: str) -> bool:
        """Whether a call may start now: no other call of its container is under way."""
        _calls, adds_wait, count = _FRONT.unpack_from(self._memory, 0)
        if command == "ADD" and adds_wait:
            return False
        sums = struct.unpack_from(f"={count}I", self._memory, _FRONT.size)
        return not container or crc32(container.encode(errors="replace")) not in sums

    def look(self, slot: int) -> Sight:
        """Read *slot*."""
        at = _SLOTS + slot * _SLOT
        changes, began, until, waits, answering, *lengths = self._settled(at)
        begins, texts = at + _HEAD.size, []
        for length, longest in zip(lengths, (_LONGEST, _LONGEST_NAME, _LONGEST_NAME), strict=True):
            ends = begins + min(length, longest)
            texts.append(self._memory[begins:ends].decode(errors="replace"))
            begins = ends
        return Sight(changes, began, until, bool(waits), bool(answering), *texts)

    def _settled(self, at: int) -> tuple[Any, ...]:
        """Read a slot's head until two reads agree: its worker may be writing it."""
        head = _HEAD.unpack_from(self._memory, at)
        for _ in range(_READS):
            before, head = head, _HEAD.unpack_from(self._memory, at)
            if head == before:
                break
        return head

    def publish_queued(self, pods: Collection[str]) -> None:
        """Write which pods have a queued annotation; too many count as all pods."""
        sums = [crc32(each.encode(errors="replace")) for each in pods]
        fit = len(sums) < _PAGE // 4
        if fit:
            struct.pack_into(f"={len(sums)}I", self._memory, _PAGE + 4, *sums)
        struct.pack_into("=I", self._memory, _PAGE, len(sums) if fit else _ALL)

    def is_queued(self, pod: str) -> bool:
        """Whether an annotation of *pod* is queued."""
        (count,) = struct.unpack_from("=I", self._memory, _PAGE)
        if count == _ALL:
            return True
        return crc32(pod.encode(errors="replace")) in struct.unpack_from(
            f"={count}I", self._memory, _PAGE + 4
        )

    def changes(self, slot: int) -> int:
        """How often *slot* has changed."""
        return int(_COUNT.unpack_from(self._memory, _SLOTS + slot * _SLOT)[0])

    def clear(self, slot: int) -> None:
        """Empty *slot*."""
        self.write(slot, Sight())

    def write(self, slot: int, sight: Sight) -> None:
        """Write *sight* to *slot*."""
        texts, lengths = _encoded(sight.what, sight.plugin, sight.task)
        at = _SLOTS + slot * _SLOT
        self._memory[at + _HEAD.size : at + _HEAD.size + len(texts)] = texts
        _HEAD.pack_into(
            self._memory,
            at,
            sight.changes,
            sight.began,
            sight.until,
            sight.waits,
            sight.answering,
            *lengths,
        )

    def view(self, slot: int) -> memoryview:
        """The memory of *slot*."""
        at = _SLOTS + slot * _SLOT
        return memoryview(self._memory)[at : at + _SLOT]

    def close(self) -> None:
        self._memory.close()
        os.close(self.descriptor)


def _encoded(what: str, plugin: str, task: str) -> tuple[bytes, tuple[int, int, int]]:
    """The three texts, concatenated, and their lengths."""
    text = what.encode(errors="replace")[:_LONGEST]
    if not plugin:
        return text, (len(text), 0, 0)
    whose = plugin.encode(errors="replace")[:_LONGEST_NAME]
    name = task.encode(errors="replace")[:_LONGEST_NAME]
    return text + whose + name, (len(text), len(whose), len(name))


_NO_TASK = ("", "")


class Slot:
    """A worker's own slot: the ``progress.Watch`` of its process."""

    def __init__(self, board: Board, number: int, patience: float) -> None:
        self.patience = patience
        self._board, self._number = board, number
        self._view = board.view(number)
        self._changes = 0

    def show(self, current: progress.step | None) -> None:
        """Write the current step; an ADD has about a hundred of them."""
        self._changes += 1
        if current is None:
            _HEAD.pack_into(self._view, 0, self._changes, 0.0, 0.0, 0, 0, 0, 0, 0)
            return
        texts, lengths = _encoded(current.what, *(current.task or _NO_TASK))
        self._view[_HEAD.size : _HEAD.size + len(texts)] = texts
        _HEAD.pack_into(
            self._view, 0, self._changes, current.began, current.until, current.waits, 0, *lengths
        )

    def answering(self) -> None:
        """Write that the answer is being sent: no other process may write to the client now."""
        self._changes += 1
        self._board.write(self._number, Sight(self._changes, answering=True))
