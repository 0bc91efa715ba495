"""Shared memory in which each worker shows what it is doing, and the supervisor looks.

One file in memory (``memfd_create``) that every process of the daemon maps.  Its first page is the
supervisor's: how many calls wait or run, whether an ADD has to wait, and which containers are
worked on (the CRC-32 of each ID).  The second is the process's for Kubernetes: the pods whose
annotations wait to be written (CRC-32 too).  After them comes a slot for each worker::

    offset  bytes
         0      8  count of changes, so that a reader sees whether a slot changed while it read
         8      8  the step began  (seconds of time.monotonic(), which all processes share)
        16      8  the step has to end by then; 0 when nothing is being done
        24      1  1: something outside the process is waited for
        25      1  1: the answer is being sent, or was
        26      2  length of the text
        28      1  length of the plugin's name; 0 when no plugin's code runs
        29      1  length of the task's: a hook, or a verb of an invoker
        30         the text (what is being done), the plugin's name, the task's; UTF-8
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
#: How often a slot is read again while it changes.
_READS = 8
_SLOTS = 2 * _PAGE
_HEAD = struct.Struct("=QddBBHBB")
_LONGEST_NAME = 64
_LONGEST = _SLOT - _HEAD.size - 2 * _LONGEST_NAME
_COUNT = struct.Struct("=Q")
_ALL = 0xFFFFFFFF
#: Calls, whether ADDs have to wait, how many containers; their checksums follow.
_FRONT = struct.Struct("=QII")
_MOST_CONTAINERS = (_PAGE - _FRONT.size) // 4


@frozen
class Sight:
    """What a slot shows.

    ``plugin`` and ``task`` say whose code runs, as ``multus.api.progress.Task`` does; they are
    empty when no plugin's does.
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
    """The shared memory; *descriptor* is its file, of ``slots`` slots."""

    def __init__(self, descriptor: int, slots: int) -> None:
        self.descriptor = descriptor
        self.slots = slots
        self._memory = mmap.mmap(descriptor, _SLOTS + slots * _SLOT)

    @classmethod
    def create(cls, slots: int) -> Board:
        """A new board; the processes that inherit its descriptor map it by the same number."""
        descriptor = os.memfd_create("multus-board", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _SLOTS + slots * _SLOT)
        return cls(descriptor, slots)

    @property
    def calls(self) -> int:
        """Calls that wait or are carried out."""
        return int(_COUNT.unpack_from(self._memory, 0)[0])

    def publish(self, calls: int, containers: Collection[str], *, adds_wait: bool) -> None:
        """Show how much there is to do, and what may not begin now."""
        sums = [crc32(each.encode(errors="replace")) for each in containers][:_MOST_CONTAINERS]
        struct.pack_into(f"={len(sums)}I", self._memory, _FRONT.size, *sums)
        _FRONT.pack_into(self._memory, 0, calls, adds_wait, len(sums))

    def may_begin(self, command: str, container: str) -> bool:
        """Whether a call may begin at once: nothing else works on its container."""
        _calls, adds_wait, count = _FRONT.unpack_from(self._memory, 0)
        if command == "ADD" and adds_wait:
            return False
        sums = struct.unpack_from(f"={count}I", self._memory, _FRONT.size)
        return not container or crc32(container.encode(errors="replace")) not in sums

    def look(self, slot: int) -> Sight:
        """What the worker of *slot* shows."""
        at = _SLOTS + slot * _SLOT
        changes, began, until, waits, answering, *lengths = self._settled(at)
        begins, texts = at + _HEAD.size, []
        for length, longest in zip(lengths, (_LONGEST, _LONGEST_NAME, _LONGEST_NAME), strict=True):
            ends = begins + min(length, longest)
            texts.append(self._memory[begins:ends].decode(errors="replace"))
            begins = ends
        return Sight(changes, began, until, bool(waits), bool(answering), *texts)

    def _settled(self, at: int) -> tuple[Any, ...]:
        """The head of a slot, read until two reads agree: its worker may be writing it."""
        head = _HEAD.unpack_from(self._memory, at)
        for _ in range(_READS):
            before, head = head, _HEAD.unpack_from(self._memory, at)
            if head == before:
                break
        return head

    def publish_queued(self, pods: Collection[str]) -> None:
        """Show for which pods annotations wait; too many stand for all."""
        sums = [crc32(each.encode(errors="replace")) for each in pods]
        fit = len(sums) < _PAGE // 4
        if fit:
            struct.pack_into(f"={len(sums)}I", self._memory, _PAGE + 4, *sums)
        struct.pack_into("=I", self._memory, _PAGE, len(sums) if fit else _ALL)

    def is_queued(self, pod: str) -> bool:
        """Whether an annotation of *pod* waits to be written."""
        (count,) = struct.unpack_from("=I", self._memory, _PAGE)
        if count == _ALL:
            return True
        return crc32(pod.encode(errors="replace")) in struct.unpack_from(
            f"={count}I", self._memory, _PAGE + 4
        )

    def changes(self, slot: int) -> int:
        """How often what *slot* shows has changed."""
        return int(_COUNT.unpack_from(self._memory, _SLOTS + slot * _SLOT)[0])

    def clear(self, slot: int) -> None:
        """Show nothing in *slot*."""
        self.write(slot, Sight())

    def write(self, slot: int, sight: Sight) -> None:
        """Show *sight* in *slot*."""
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
        """The memory of *slot* itself."""
        at = _SLOTS + slot * _SLOT
        return memoryview(self._memory)[at : at + _SLOT]

    def close(self) -> None:
        self._memory.close()
        os.close(self.descriptor)


def _encoded(what: str, plugin: str, task: str) -> tuple[bytes, tuple[int, int, int]]:
    """The three texts one after the other, and their lengths."""
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
        """Show the step that begins or goes on; an ADD has some hundred of them."""
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
        """Show that the client is being answered: no other process may write to it now."""
        self._changes += 1
        self._board.write(self._number, Sight(self._changes, answering=True))
