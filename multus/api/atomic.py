"""Write files atomically.

The contents go into a temporary file in the same folder, which is renamed over the target.  A
reader sees either the old or the new contents, also after the writer was killed or the disk was
full.

A power cut may still lose the new contents, or leave an empty file.  With *fsync*, the file and its
folder are fsynced, and the new contents survive a power cut once the function has returned.  That
takes some milliseconds: use it for state that must survive a power cut, not for a cache.

The temporary file of a killed process stays, unless its name is given: see *temporary*.
(``multus.cni.shim`` and the log run without this package and have their own copy of this code.)
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


def write(
    path: str, data: bytes, mode: int = 0o600, *, fsync: bool, temporary: str | None = None
) -> None:
    """Write *data* to *path*, with the permissions *mode* regardless of the umask.

    *temporary* is the path of the temporary file, in the same folder.  Give it only when a lock
    excludes other writers of *path*: a file of that name, left by a killed writer, is replaced.
    Without it the name is random.  Raises ``OSError``, and ``NotRegular`` when the temporary name
    exists and is not a regular file.
    """
    os.close(write_open(path, data, mode, fsync=fsync, temporary=temporary))


def write_open(
    path: str,
    data: bytes,
    mode: int = 0o600,
    *,
    fsync: bool,
    temporary: str | None = None,
    replacing: bool = True,
) -> int:
    """Like ``write``; returns a descriptor of the file for reading and appending.

    Without *replacing*, nothing is at *path*, and the file is renamed before it is fsynced.  A file
    system with a journal then commits once, not twice.  A power cut before the function returns may
    leave a torn file, which for a reader is one that was never written.
    """
    new = temporary or f"{path}.{os.urandom(4).hex()}.new"
    descriptor = _create(new, mode)
    try:
        write_all(descriptor, data)
        if fsync and replacing:
            os.fdatasync(descriptor)
        os.rename(new, path)
        if fsync and not replacing:
            new = path
            os.fdatasync(descriptor)
        if fsync:
            sync_folder(path)
    except BaseException:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            os.unlink(new)
        raise
    return descriptor


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of *data*: one write(2) may write only a part."""
    while data:
        data = data[os.write(descriptor, data) :]


def sync_folder(path: str) -> None:
    """Fsync the folder of *path*, which makes a rename or an unlink durable."""
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
