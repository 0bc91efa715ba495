"""Open regular files, and refuse everything else, by paths from a configuration.

A path may be a FIFO, a device, a socket or a link.  Opening a FIFO blocks, reading some devices
never ends, and opening others has side effects.  So the file is checked with stat, opened with
O_NONBLOCK, and checked again with fstat.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import suppress

from multus.api.progress import step

_SAFE = os.O_NONBLOCK | os.O_CLOEXEC
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0002, 0.01

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotRegular(OSError):
    """The path exists and is not a regular file; ``strerror`` says what it is."""

    def __init__(self, path: str, mode: int) -> None:
        kind = next((text for test, text in _KINDS if test(mode)), "something else")
        super().__init__(0, f"it is {kind}, not a regular file", path)


def opened(path: str, flags: int, *, folder: int | None = None, follow: bool = False) -> int:
    """Open the regular file at *path*, relative to the descriptor *folder*; return a descriptor.

    *follow* allows a symbolic link to a regular file.  Raises ``NotRegular`` and ``OSError``.
    """
    with suppress(FileNotFoundError):
        _require(path, os.stat(path, dir_fd=folder, follow_symlinks=follow).st_mode)
    if not follow:
        flags |= os.O_NOFOLLOW
    fd = os.open(path, flags | _SAFE, 0o600, dir_fd=folder)
    try:
        _require(path, os.fstat(fd).st_mode)
    except OSError:
        os.close(fd)
        raise
    return fd


def require(path: str) -> None:
    """Raise ``NotRegular`` when *path* is not a regular file, ``OSError`` when stat fails."""
    _require(path, os.lstat(path).st_mode)


def _require(path: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NotRegular(path, mode)


def read(path: str, most: int, *, follow: bool = False) -> bytes:
    """The first *most* bytes of a regular file.  Raises ``NotRegular`` and ``OSError``."""
    fd = opened(path, os.O_RDONLY, follow=follow)
    try:
        return os.read(fd, most)
    finally:
        os.close(fd)


def read_listed(name: str, folder: int, most: int) -> bytes:
    """``read`` for a name that the directory with the descriptor *folder* lists as regular.

    For speed it is not checked again.  If it was replaced meanwhile, O_NONBLOCK and O_NOFOLLOW
    still prevent blocking and following a link.
    """
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | _SAFE, dir_fd=folder)
    try:
        return os.read(fd, most)
    finally:
        os.close(fd)


def locked(fd: int, deadline: float) -> bool:
    """Take the exclusive flock(2) lock of *fd*; False when *deadline* passed without it.

    *deadline* is a ``time.monotonic()`` value.  It tries at least once.
    """
    pause, left = _FIRST_PAUSE, deadline - time.monotonic()
    with step("the lock of a file", max(0.0, left) + 5.0, waits=True):
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def holder(fd: int) -> str:
    """The process that holds the flock(2) lock of *fd*, as text: "process 71 'host-local'".

    "another process" when the kernel does not name it.  Source: proc(5), "/proc/locks".
    """
    with suppress(OSError):
        file = _in_locks(fd)
        for line in _text("/proc/locks").splitlines():
            words = line.split()
            if words[1:2] == ["FLOCK"] and words[5:6] == [file]:
                name = "(ended)"
                with suppress(OSError):
                    name = _text(f"/proc/{words[4]}/comm").strip()
                return f"process {words[4]} {name!r}"
    return "another process"


def _in_locks(fd: int) -> str:
    """The file as /proc/locks names it: "fe:00:1234", its file system's device and its inode.

    On overlayfs and btrfs, stat(2) has another device, or inode, than the kernel has itself.
    Source: proc(5), "/proc/pid/fdinfo" (``ino`` since Linux 5.14) and "/proc/pid/mountinfo".
    """
    found = os.fstat(fd)
    told = dict(line.split(":", 1) for line in _text(f"/proc/self/fdinfo/{fd}").splitlines()[:4])
    inode = int(told.get("ino", found.st_ino))
    major, minor = os.major(found.st_dev), os.minor(found.st_dev)
    for line in _text("/proc/thread-self/mountinfo").splitlines():
        mount, _parent, device = line.split()[:3]
        if mount == told["mnt_id"].strip():
            major, minor = map(int, device.split(":"))
    return f"{major:02x}:{minor:02x}:{inode}"


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
