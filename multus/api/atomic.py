"""Files that are written whole or not at all.

The contents go into a temporary file in the same folder, which is renamed over the target.  A
reader, and whoever comes after a process that was killed or a disk that was full, finds either the
old contents or the new ones.

That holds for processes.  A power cut may still lose the new contents, or leave an empty file.
With *fsync*, the file and its folder are fsynced, and the new contents survive a power cut once the
function has returned.  That costs some milliseconds: ask for it where the file must outlive the
machine, not for a cache.

A temporary file that a killed process left stays, unless its name is given: see *temporary*.
(``multus.cni.shim`` and the log run without this package, and do the same themselves.)
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


def write(
    path: str, data: bytes, mode: int = 0o600, *, fsync: bool, temporary: str | None = None
) -> None:
    """Put *data* at *path*, with the permissions *mode* whatever the umask is.

    *temporary* is the path of the temporary file, in the same folder.  Give it only where a lock
    keeps other writers of *path* away: a file of that name, which a killed writer left, is
    replaced.  Without it the name is a random one.  Raises ``OSError``, and ``NotRegular`` when
    something other than a regular file has the temporary name.
    """
    os.close(write_open(path, data, mode, fsync=fsync, temporary=temporary))


def write_open(
    path: str, data: bytes, mode: int = 0o600, *, fsync: bool, temporary: str | None = None
) -> int:
    """The same; returns a descriptor of the file, which reads and appends."""
    new = temporary or f"{path}.{os.urandom(4).hex()}.new"
    descriptor = _create(new, mode)
    try:
        write_all(descriptor, data)
        if fsync:
            os.fdatasync(descriptor)
        os.rename(new, path)
        if fsync:
            sync_folder(path)
    except BaseException:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            os.unlink(new)
        raise
    return descriptor


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of *data*: write(2) may take a part of it."""
    while data:
        data = data[os.write(descriptor, data) :]


def sync_folder(path: str) -> None:
    """Fsync the folder of *path*: that the file has this name, or does not exist any more."""
    folder = os.path.dirname(path) or "."
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create(path: str, mode: int) -> int:
    try:
        descriptor = os.open(path, _FLAGS, 0o600)
    except FileExistsError:
        found = os.lstat(path).st_mode
        if not stat.S_ISREG(found):
            from multus.api.regular import NotRegular

            raise NotRegular(path, found) from None
        os.unlink(path)
        descriptor = os.open(path, _FLAGS, 0o600)
    if mode != 0o600:
        os.fchmod(descriptor, mode)
    return descriptor
