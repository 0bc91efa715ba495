"""One command at a time for a container.

Every lock is one byte of the file ``.lock`` under ``cniDir``.  The file is made once and stays, so
that taking a lock creates nothing: it works on a full disk, and a killed process leaves no lock
file.  A command locks the byte that its container's ID hashes to; different containers do not wait
for each other.  An ADD also holds a shared lock of byte 0, and GC an exclusive one: what is being
attached is not yet in GC's list of valid attachments.

The kernel frees a lock when its last descriptor is closed, as it is when its process ends.  Started
delegates inherit the descriptor: one that outlives its killed parent still holds the lock, and the
next DEL waits for it.

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
                f" outlived one{_held_by(descriptor, byte)}",
                fix="try again when it has ended",
            )
        if adding:
            with step("the garbage collection under way", patience + 5.0, waits=True):
                locked = _acquire(descriptor, fcntl.F_RDLCK, _ALL, deadline)
        if not locked:
            raise TryAgainLater(
                f"container {container_id} has to wait for the garbage collection under"
                f" way{_held_by(descriptor, _ALL)}",
                fix="try again when it has ended",
            )
        yield descriptor


@contextmanager
def collector_lock(folder: str, patience: float) -> Iterator[None]:
    """Keep every ADD under *folder* waiting, once those under way have ended.

    Waits at most *patience* seconds, then raises ``TryAgainLater``.
    """
    with _opened(folder) as descriptor:
        with step("the attachments under way", patience + 5.0, waits=True):
            locked = _acquire(descriptor, fcntl.F_WRLCK, _ALL, time.monotonic() + patience)
        if not locked:
            raise TryAgainLater(
                "garbage cannot be collected while networks are being"
                f" attached{_held_by(descriptor, _ALL)}",
                fix="try again when that has ended",
            )
        yield


@contextmanager
def _opened(folder: str) -> Iterator[int]:
    path = os.path.join(folder, NAME)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise IOFailure(
            f"cannot open the lock {path}: {error.strerror}",
            fix="look at its owner, mode, file system",
        ) from error
    _mine.add(descriptor)
    try:
        yield descriptor
    finally:
        if descriptor in _mine:
            _mine.remove(descriptor)
            os.close(descriptor)


def leave_to_parent() -> None:
    """In a forked process: release the locks that it shares with the process that forked it."""
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
                    f"cannot lock {NAME} in 'cniDir': {error.strerror}",
                    fix="use a local file system",
                ) from error
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _byte_of(container_id: str) -> int:
    """The byte that is a container's lock: FNV-1a in 62 bits, never byte 0.

    Two containers with the same byte merely wait for each other.
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
    # The process may end meanwhile.
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
