"""One command at a time for a container, and for whatever still works on it.

All locks are bytes of one file, ``.lock`` under ``cniDir``, which is made once and stays: taking
one creates nothing, so it works on a full disk and a killed process leaves none behind.  A command
locks the byte that its container's ID hashes to, so that different containers do not wait for each
other.  An ADD also shares byte 0, which GC wants for itself: what is being attached is in no list
of what is valid.

The kernel frees a lock when its last descriptor is closed, so one whose process died is free.
Started delegates inherit the descriptor: one that outlived a killed parent still holds the lock,
and the next DEL does not race it.

Source: fcntl(2), "Open file description locks".
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from multus.api.errors import IOFailure, TryAgainLater
from multus.api.progress import step

NAME = ".lock"

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1

#: struct flock: type, whence, start, length, pid; the last pads it to the kernel's size.
_FLOCK = struct.Struct("hhqqi0q")

_ALL = 0

#: The descriptors of this process that hold, or wait for, a lock.
_mine: set[int] = set()


@contextmanager
def container_lock(
    folder: str, container_id: str, patience: float, *, adding: bool = False
) -> Iterator[int]:
    """Hold the lock of a container under *folder*; yields the descriptor that holds it.

    With *adding*, no GC runs meanwhile.  Waits at most *patience* seconds, then raises
    ``TryAgainLater``.
    """
    deadline = time.monotonic() + patience
    with _opened(folder) as descriptor:
        byte = _byte_of(container_id)
        with step(f"the lock of container {container_id}", patience + 5.0, waits=True):
            locked = _acquire(descriptor, fcntl.F_WRLCK, byte, deadline)
        if not locked:
            raise TryAgainLater(
                f"container {container_id} is busy with another command, or with a delegate that"
                f" outlived one{_held_by(descriptor, byte)}: try again when it has ended"
            )
        if adding:
            with step("the garbage collection under way", patience + 5.0, waits=True):
                locked = _acquire(descriptor, fcntl.F_RDLCK, _ALL, deadline)
        if not locked:
            raise TryAgainLater(
                f"container {container_id} waits for the garbage collection under way"
                f"{_held_by(descriptor, _ALL)}: try again when it has ended"
            )
        yield descriptor


@contextmanager
def collector_lock(folder: str, patience: float) -> Iterator[None]:
    """Hold off every ADD under *folder*, once those under way have ended.

    Waits at most *patience* seconds, then raises ``TryAgainLater``.
    """
    with _opened(folder) as descriptor:
        with step("the attachments under way", patience + 5.0, waits=True):
            locked = _acquire(descriptor, fcntl.F_WRLCK, _ALL, time.monotonic() + patience)
        if not locked:
            raise TryAgainLater(
                "garbage cannot be collected while containers are being attached"
                f"{_held_by(descriptor, _ALL)}: try again when that has ended"
            )
        yield


@contextmanager
def _opened(folder: str) -> Iterator[int]:
    path = os.path.join(folder, NAME)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise IOFailure(
            f"cannot open the lock {path}: {error.strerror}: look at its owner, mode, file system"
        ) from error
    _mine.add(descriptor)
    try:
        yield descriptor
    finally:
        if descriptor in _mine:
            _mine.remove(descriptor)
            os.close(descriptor)


def leave_to_parent() -> None:
    """In a forked process: hold none of the locks that the process has which forked it."""
    while _mine:
        os.close(_mine.pop())


def _acquire(descriptor: int, kind: int, byte: int, deadline: float) -> bool:
    wanted = _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0)
    pause = _FIRST_PAUSE
    while True:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
            return True
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise IOFailure(
                    f"cannot lock {NAME} in 'cniDir': {error.strerror}: use a local file system"
                ) from error
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _byte_of(container_id: str) -> int:
    """Where a container's lock is: FNV-1a in 62 bits, and never the byte for all.

    Two containers that share a byte would only wait for each other.
    """
    number = 0xCBF29CE484222325
    for byte in container_id.encode():
        number = (number ^ byte) * 0x100000001B3 % (1 << 64)
    return 1 + number % (1 << 62)


def _held_by(descriptor: int, byte: int) -> str:
    """Which processes hold the lock, for people: " (process 71 'ptp')"; empty when unknown."""
    inode = os.fstat(descriptor).st_ino
    found = [
        f"process {pid} {_command(pid)!r}"
        for pid in os.listdir("/proc")
        if pid.isdecimal() and int(pid) != os.getpid() and _holds(pid, inode, byte)
    ]
    return f" ({', '.join(found)})" if found else ""


def _holds(pid: str, inode: int, byte: int) -> bool:
    folder = f"/proc/{pid}/fdinfo"
    # It may end while we look.
    with suppress(OSError):
        for name in os.listdir(folder):
            for line in _read(f"{folder}/{name}").splitlines():
                words = line.split()
                if words[:1] == ["lock:"] and words[-2:-1] == [str(byte)]:
                    return any(word.endswith(f":{inode}") for word in words)
    return False


def _command(pid: str) -> str:
    with suppress(OSError):
        return _read(f"/proc/{pid}/comm").strip()
    return "(ended)"


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
