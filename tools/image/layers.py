"""A folder's files as a layer of an image: the same files give the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from tools.image.oci import Layer

MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"


def below(root: Path) -> Iterator[str]:
    """The paths of everything below *root*, relative to it, folders before what is in them."""
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            yield os.path.relpath(os.path.join(folder, name), root)


def clamp(root: Path, epoch: int) -> None:
    """Set the modification time of whatever below *root* is newer to *epoch*, in seconds."""
    for name in ("", *below(root)):
        path = root / name
        if path.lstat().st_mtime > epoch:
            os.utime(path, (epoch, epoch), follow_symlinks=False)


def pack(root: Path, names: Iterable[str], target: Path, epoch: int) -> Layer:
    """Write the *names* below *root*, and their folders, to *target*.

    Everything belongs to root, nothing gets the rights of its owner when it is run, and nothing is
    newer than *epoch*.
    """
    wanted = {name for each in names for name in _with_folders(each)}
    unfinished = target.with_name(f"{target.name}.new")
    with unfinished.open("wb") as file:
        # Level 9 takes three times as long for one percent.
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            hashing = _Hashing(packed)
            _write(hashing, root, sorted(wanted), epoch)
    unfinished.replace(target)
    return Layer(target, MEDIA_TYPE, f"sha256:{hashing.digest.hexdigest()}", hashing.size)


def _with_folders(name: str) -> Iterator[str]:
    while name:
        yield name
        name = os.path.dirname(name)


class _Hashing(io.RawIOBase):
    """Passes on what is written, and knows its digest and its size."""

    def __init__(self, to: gzip.GzipFile) -> None:
        self._to = to
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self.digest.update(data)
        self.size += len(data)
        return self._to.write(data)


def _write(to: BinaryIO | io.RawIOBase, root: Path, names: list[str], epoch: int) -> None:
    with tarfile.open(fileobj=to, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            path = root / name
            found = path.lstat()
            member = tarfile.TarInfo(name)
            member.mode = stat.S_IMODE(found.st_mode) & 0o1777
            member.mtime = min(int(found.st_mtime), epoch)
            if path.is_symlink():
                member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
                archive.addfile(member)
            elif path.is_dir():
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            else:
                member.size = found.st_size
                with path.open("rb") as file:
                    archive.addfile(member, file)
