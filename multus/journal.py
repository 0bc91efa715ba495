"""The journal: what is attached, on disk, before and after it is.

One file for each container and interface under ``cniDir``, named ``<container>:<interface>``; ``:``
stands in neither name.  A file is appended to, a line at a time: its CRC-32 in eight hexadecimal
digits, a space, and a JSON object (``multus.model.record``).

* ``intent``, then a ``delegate`` for each network: all that is needed to undo what the request is
  about to do, even by another process, without the configuration, the API or the netns.  They are
  written beside, seen to the disk and renamed before the first delegate is invoked, since a
  delegate's address may outlive a power cut: a file without all of them is damaged.
* ``attached``: a step of a delegate's chain succeeded, with its result.
* ``detached``: a delegate is gone, while others could not be removed.
* ``finished``: the answer that the runtime got.
* ``removing``: a DEL has begun, and some may be gone; with it the record is unfinished again.

The lines after the delegates are not seen to the disk: without them more is undone than is there,
which is no error.  A line that is torn or whose sum is wrong is left out, and the others still
count.  The file is deleted when every delegate is gone.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from binascii import crc32
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

from attrs import evolve

from multus.errors import BadEnvironment, CNIError, InvalidConfig, IOFailure, StateDamaged
from multus.jsontext import LARGEST, decode_object, encode
from multus.model.names import interface_problem, is_identifier
from multus.model.network import Attachment
from multus.model.record import (
    FORMAT,
    REMOVING,
    Planned,
    Record,
    applied,
    attached_wire,
    detached_wire,
    finished_wire,
    intent_wire,
    planned_wire,
)
from multus.model.request import Request
from multus.model.result import Result

#: A damaged file is kept under this name, for people, once what it says is undone.
DAMAGED = ":damaged"

#: A file that is being written; only a killed process leaves one.
_NEW = ":new"

#: Results are refused beyond this size; what is then undone still has room.
_FULL = 4 * LARGEST
_LARGEST_FILE = 2 * _FULL

#: A file's name may have 255 bytes on every file system of today.
_LONGEST_ID = 255 - len(":") - 15 - len(DAMAGED)

_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW


class Writer:
    """Appends outcomes to the journal of one container and interface; to be closed.

    *descriptor* is the file's, of *size* bytes, where it is open already.
    """

    def __init__(self, path: str, descriptor: int = -1, size: int = 0) -> None:
        self.path = path
        self._descriptor = descriptor
        self._size = size

    def close(self) -> None:
        """Close the file; what comes later opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def attached(self, index: int, attachment: Attachment) -> None:
        self._append(attached_wire(index, attachment), _FULL)

    def detached(self, index: int) -> None:
        self._append(detached_wire(index), _LARGEST_FILE)

    def finished(self, result: Result) -> None:
        self._append(finished_wire(result), _FULL)

    def removing(self) -> None:
        self._append(REMOVING, _LARGEST_FILE)

    def forget(self) -> None:
        """Delete the file: every delegate is gone."""
        _unlink(self.path)

    def _append(self, wire: Mapping[str, Any], limit: int) -> None:
        line = _line(wire, self.path)
        try:
            if self._descriptor < 0:
                line = self._open() + line
            if self._size + len(line) > limit:
                raise InvalidConfig(
                    f"the results of all networks do not fit the journal {self.path}, which"
                    f" has {limit} bytes at most: attach fewer, or find out why they are large"
                )
            self._write(line)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _open(self) -> bytes:
        """Open the file; returns what the next line has to begin with."""
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | _SAFE)
        self._size = size = os.fstat(self._descriptor).st_size
        # What a killed writer left unfinished must not spoil the next line too.
        torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"
        return b"\n" if torn else b""

    def _write(self, line: bytes) -> None:
        try:
            _write_all(self._descriptor, line)
        except OSError:
            try:
                os.ftruncate(self._descriptor, self._size)
            finally:
                self.close()
            raise
        self._size += len(line)


class Journal(NamedTuple):
    """All records under one ``cniDir``."""

    folder: str

    def prepare(self) -> None:
        """Make the folder, 0700, and refuse one that others could write to.

        Raises ``StateDamaged`` or ``IOFailure``.
        """
        try:
            _make_folder(self.folder, 0o700)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        self._require_safe()

    def begin(
        self, request: Request, conf: Mapping[str, Any], planned: Sequence[Planned]
    ) -> Writer:
        """Write the intent and see it to the disk; from here on DEL can undo the request.

        A full disk, for example, fails here, before anything is attached.  The caller closes the
        writer.
        """
        path = self._path(request.container_id, request.ifname)
        intent = intent_wire(
            request, conf, len(planned), time.time(), netns_identity(request.netns)
        )
        wires = [intent, *(planned_wire(index, each) for index, each in enumerate(planned))]
        data = b"".join(_line(wire, path) for wire in wires)
        if len(data) > _FULL // 2:
            raise InvalidConfig(
                f"the configurations of all networks have {len(data)} bytes, and the journal"
                f" {path} takes {_FULL // 2}: attach fewer, or smaller ones"
            )
        try:
            with ExitStack() as undo:
                writer = Writer(path, _write_new(f"{path}{_NEW}", data), len(data))
                undo.callback(writer.close)
                os.rename(f"{path}{_NEW}", path)
                self._sync()
                undo.pop_all()
        except OSError as error:
            with suppress(FileNotFoundError):
                os.unlink(f"{path}{_NEW}")
            raise _unwritable(path, error) from error
        return writer

    def find(self, container_id: str, ifname: str) -> Record | None:
        """The record of one container and interface; None when there is none.

        What is damaged is said in the record.  Raises ``StateDamaged`` for a file that is not ours
        to trust.
        """
        path = self._path(container_id, ifname)
        try:
            record = _read(path, container_id, ifname)
        except FileNotFoundError:
            return None
        self._require_safe()
        return record

    def records(self) -> Iterator[Record | CNIError]:
        """Every record, sorted by file name; for one that must not be read, why."""
        for name in self._names():
            container_id, colon, ifname = name.partition(":")
            if not colon or not is_identifier(container_id) or interface_problem(ifname):
                continue
            try:
                yield _read(os.path.join(self.folder, name), container_id, ifname)
            except FileNotFoundError:
                continue  # detached while we looked
            except CNIError as error:
                yield error

    def others(self) -> list[str]:
        """The names of the files that a predecessor of this program may have written."""
        return [name for name in self._names() if is_identifier(name)]

    def kept_aside(self) -> list[str]:
        """The paths of the damaged files that are kept for people."""
        return [os.path.join(self.folder, name) for name in self._names() if name.endswith(DAMAGED)]

    def set_aside(self, path: str) -> str:
        """Keep the damaged file at *path* under another name, which is returned."""
        aside = f"{path}{DAMAGED}"
        try:
            os.rename(path, aside)
        except OSError as error:
            raise _unwritable(path, error) from error
        return aside

    def adopt(
        self, path: str, request: Request, conf: Mapping[str, Any], planned: Sequence[Planned]
    ) -> Record | None:
        """Make a record of what a predecessor of this program wrote to *path*, which is removed."""
        self.begin(request, conf, planned).close()
        _unlink(path)
        return self.find(request.container_id, request.ifname)

    def unborn(self) -> list[tuple[str, str]]:
        """Containers and interfaces whose intent was being written when its process was killed."""
        names = [name[: -len(_NEW)] for name in self._names() if name.endswith(_NEW)]
        parts = [name.partition(":") for name in names]
        return [(c, i) for c, _, i in parts if is_identifier(c) and not interface_problem(i)]

    def tidy(self, container_id: str, ifname: str) -> None:
        """Remove an intent that was never whole; the container's lock must be held."""
        _unlink(f"{self._path(container_id, ifname)}{_NEW}")

    def _names(self) -> list[str]:
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise IOFailure(f"cannot list {self.folder}: {error.strerror}") from error
        self._require_safe()
        return names

    def _path(self, container_id: str, ifname: str) -> str:
        if not is_identifier(container_id) or interface_problem(ifname):
            raise BadEnvironment(
                f"container {container_id!r} with interface {ifname!r} can have no record"
            )
        if len(container_id) > _LONGEST_ID:
            raise BadEnvironment(
                f"CNI_CONTAINERID has {len(container_id)} characters: use at most {_LONGEST_ID},"
                " it has to fit a file's name"
            )
        return os.path.join(self.folder, f"{container_id}:{ifname}")

    def _require_safe(self) -> None:
        try:
            found = os.lstat(self.folder)
        except OSError as error:
            raise IOFailure(f"cannot read {self.folder}: {error.strerror}") from error
        if not stat.S_ISDIR(found.st_mode):
            raise StateDamaged(
                f"'cniDir' {self.folder} is no directory of its own: name one that is no symbolic"
                " link, or remove what is there"
            )
        if found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid()):
            raise StateDamaged(
                f"'cniDir' {self.folder} could be written to by others: make it root's and 0700"
            )

    def _sync(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def netns_identity(path: str) -> str:
    """The device and inode of the namespace at *path*; empty when there is nothing."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{found.st_dev}:{found.st_ino}"


# --- Files ----------------------------------------------------------------------------------------


def _make_folder(path: str, mode: int) -> None:
    # os.makedirs leaves the parents' modes to the umask, which some runtimes set to 0.
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if not os.path.isdir(parent):
            _make_folder(parent, 0o755)
        # Another call may have made the parent meanwhile, and this folder too.  A file system that
        # makes no folders, such as /proc, says so once more.
        with suppress(FileExistsError):
            os.mkdir(path, mode)


def _write_new(path: str, data: bytes) -> int:
    """Write a file and see it to the disk; returns its descriptor, for what follows."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | _SAFE
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        _unlink(path)
        descriptor = os.open(path, flags, 0o600)
    try:
        _write_all(descriptor, data)
        os.fdatasync(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: str, error: OSError) -> IOFailure:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    fix = "free some space" if full else "look at its owner, mode and file system"
    return IOFailure(f"cannot write the journal {path}: {error.strerror}: {fix}")


def read_safely(path: str) -> bytes:
    """The contents of a file under ``cniDir``.

    Raises ``StateDamaged`` for what others could have put there, and for what is too large.
    """
    try:
        # Opening a pipe that somebody put there must not block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _SAFE)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = "is a symbolic link" if error.errno == errno.ELOOP else str(error.strerror)
        raise StateDamaged(f"journal {path}: {reason}: remove it by hand") from error
    try:
        found = os.fstat(descriptor)
        theirs = found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022
        if theirs or not stat.S_ISREG(found.st_mode):
            raise StateDamaged(
                f"journal {path} is no file that only root can write: remove it by hand"
            )
        if found.st_size > _LARGEST_FILE:
            raise StateDamaged(
                f"journal {path} has {found.st_size} bytes, at most {_LARGEST_FILE} are read:"
                " it is none of ours, remove it by hand"
            )
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read()
    finally:
        os.close(descriptor)


# --- Lines ----------------------------------------------------------------------------------------


def _line(wire: Mapping[str, Any], path: str) -> bytes:
    text = encode(wire)
    if len(text) > LARGEST:
        raise InvalidConfig(
            f"a configuration or result has {len(text)} bytes as JSON, and the journal {path} takes"
            f" {LARGEST}: find out why it is so large"
        )
    return b"%08x %s\n" % (crc32(text), text)


def _parse_line(line: bytes) -> dict[str, Any]:
    if len(line) < 10 or line[8:9] != b" ":
        raise ValueError("it is torn")
    if line[:8] != b"%08x" % crc32(line[9:]):
        raise ValueError("its checksum is wrong")
    return decode_object(line[9:], "the line")


def _read(path: str, container_id: str, ifname: str) -> Record:
    lines = read_safely(path).split(b"\n")
    torn = lines.pop()  # what follows the last newline: nothing, when the file is whole
    record = Record(path, Request("DEL", container_id=container_id, ifname=ifname))
    damage = ["its last line is torn"] if torn else [] if lines else ["it is empty"]
    for number, line in enumerate(lines, start=1):
        try:
            wire = _parse_line(line)
            if number == 1:
                _require_known(wire, path)
            record = applied(record, wire)
        except (ValueError, CNIError) as error:
            if isinstance(error, StateDamaged):
                raise
            damage.insert(0, f"line {number}: {error}")
    if not damage and not record.complete:
        damage.append("it does not name all delegates")
    return evolve(record, damage="; ".join(damage))


def _require_known(wire: Mapping[str, Any], path: str) -> None:
    if wire.get("kind") == "intent" and wire.get("format") != FORMAT:
        raise StateDamaged(
            f"journal {path} has format {wire.get('format')!r}, this program reads {FORMAT}: use"
            " the program that wrote it"
        )
