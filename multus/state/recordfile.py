"""The file of one record: created as a whole, appended to line by line, and checked when read.

``multus.state.record`` has what the lines say, ``multus.state.journal`` which files there are.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from binascii import crc32
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve

from multus.api import atomic
from multus.api.errors import CNIError, InvalidConfig, IOFailure, StateDamaged
from multus.api.jsontext import LARGEST, decode_object, encode
from multus.api.request import Request
from multus.state.lines import (
    FORMAT,
    REMOVING,
    attached_wire,
    attaching_wire,
    detached_wire,
    detaching_wire,
    failed_wire,
    finished_wire,
    joined_wire,
    trying_wire,
)
from multus.state.liveness import OF_ANOTHER_BOOT, identity_since, is_of_earlier_boot
from multus.state.record import Record, applied

if TYPE_CHECKING:
    from multus.api.network import Attachment
    from multus.api.result import Result
    from multus.state.record import Planned

#: Appended to the name of a file that is being created; only a killed process leaves one.
NEW = ":new"

#: Beyond this size of a file, results are refused.  The lines of their removal still have room.
_FULL = 4 * LARGEST
_LARGEST_FILE = 2 * _FULL

#: What a file system has for bytes that a power cut kept from the disk; JSON text has none.
_HOLE = b"\0"

_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW


class Writer:
    """Appends lines to the file of one container and interface; close it afterwards.

    *descriptor* is that of the open file, with *size* bytes; without it the first line opens it.
    Every method raises ``IOFailure``, and ``InvalidConfig`` when the file would become too large.
    """

    def __init__(self, path: str, descriptor: int = -1, size: int = 0) -> None:
        self.path = path
        self._descriptor = descriptor
        self._size = size

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def attached(self, index: int, attachment: Attachment) -> None:
        """A step of delegate *index* succeeded: *attachment* is how far its chain has come."""
        self._append(attached_wire(index, attachment), _FULL)

    def detached(self, index: int) -> None:
        """Delegate *index* is gone."""
        self._append(detached_wire(index), _LARGEST_FILE)

    def failed(self, index: int, error: CNIError) -> None:
        """Removing delegate *index* failed."""
        self._append(failed_wire(index, str(error), time.time()), _LARGEST_FILE)

    def trying(self, index: int) -> None:
        """The removal of delegate *index* begins once more."""
        self._append(trying_wire(index, time.time()), _LARGEST_FILE)

    def attaching(self, index: int, planned: Planned) -> None:
        """Delegate *index* is about to be attached to the running container; fsynced."""
        self._append(attaching_wire(index, planned), _FULL)
        self._sync()

    def joined(self, index: int) -> None:
        """The running container has delegate *index*."""
        self._append(joined_wire(index), _FULL)

    def detaching(self, index: int) -> None:
        """Delegate *index* is about to be detached from the running container; fsynced."""
        self._append(detaching_wire(index), _LARGEST_FILE)
        self._sync()

    def finished(self, result: Result) -> None:
        """The container has all its networks; *result* is the answer."""
        self._append(finished_wire(result), _FULL)

    def removing(self) -> None:
        """A removal begins: the record is not finished any more."""
        self._append(REMOVING, _LARGEST_FILE)

    def delete(self) -> None:
        """Delete the file: every delegate is gone."""
        unlink(self.path)

    def _append(self, wire: Mapping[str, Any], limit: int) -> None:
        line = _line(wire, self.path)
        try:
            if self._descriptor < 0:
                self._open()
            if self._size + len(line) > limit:
                raise InvalidConfig(
                    f"the results of all networks do not fit the journal {self.path}, which"
                    f" has {limit} bytes at most: attach fewer, or find out why they are large"
                )
            self._write(line)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _sync(self) -> None:
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _open(self) -> None:
        """Open the file, and remove the torn line of a writer that was killed, or lost power."""
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | _SAFE)
        self._size = size = os.fstat(self._descriptor).st_size
        if size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n":
            whole = os.pread(self._descriptor, size, 0)
            self._size = whole.rfind(b"\n") + 1
            os.ftruncate(self._descriptor, self._size)

    def _write(self, line: bytes) -> None:
        try:
            atomic.write_all(self._descriptor, line)
        except OSError:
            try:
                os.ftruncate(self._descriptor, self._size)
            finally:
                self.close()
            raise
        self._size += len(line)


def create(path: str, wires: Sequence[Mapping[str, Any]], *, replacing: bool = False) -> Writer:
    """Write and fsync a file with these lines, whole or not at all; the caller closes the writer.

    With *replacing*, other files say the same until this one is there, after a power cut too.
    Raises ``InvalidConfig`` or ``IOFailure``.
    """
    data = b"".join(_line(wire, path) for wire in wires)
    if len(data) > _FULL // 2:
        raise InvalidConfig(
            f"the configurations of all networks have {len(data)} bytes, and the journal"
            f" {path} takes {_FULL // 2}: attach fewer, or smaller ones"
        )
    try:
        descriptor = atomic.write_open(
            path, data, fsync=True, temporary=f"{path}{NEW}", replacing=replacing
        )
    except OSError as error:
        raise unwritable(path, error) from error
    return Writer(path, descriptor, len(data))


def read(path: str, container_id: str, ifname: str) -> Record:
    """The record in the file at *path*; its ``damage`` says what could not be read.

    A kill or a power cut leaves the last line torn, and a power cut leaves zeros where lines that
    were not fsynced had been.  A record that names all delegates is not damaged without them.

    Raises ``FileNotFoundError``, and ``StateDamaged`` for a file that others than root could have
    written, or that another program's format has.
    """
    data = read_safely(path)
    lines = data.split(b"\n")
    torn = lines.pop()  # what follows the last newline: nothing, when the file is whole
    record = Record(path, Request("DEL", container_id=container_id, ifname=ifname))
    altered: list[str] = []
    unwritten = ["its last line is torn"] if torn else [] if lines else ["it is empty"]
    for number, line in enumerate(lines, start=1):
        if _HOLE in line:
            unwritten.insert(0, f"line {number}: it was not written to the end")
            continue
        try:
            wire = _parse_line(line)
            if number == 1:
                _require_known(wire, path)
            record = applied(record, wire)
        except (ValueError, CNIError) as error:
            if isinstance(error, StateDamaged):
                raise
            altered.insert(0, f"line {number}: {error}")
    now = identity_since(record.boot, record.started, record.netns_identity)
    record = evolve(record, netns_identity=now)
    if record.complete:
        return evolve(record, damage="; ".join(altered))
    damage = [*unwritten, *altered] or ["it does not name all delegates"]
    # The intent is fsynced before anything is attached, so a power cut explains what of an earlier
    # boot is not whole.  What is torn in the same boot was altered since.
    if data.strip(_HOLE):
        unbegun = record.netns_identity == OF_ANOTHER_BOOT and not altered and not record.done
    else:
        unbegun = is_of_earlier_boot(path)
    return evolve(record, damage="; ".join(damage), unbegun=unbegun)


def _require_known(wire: Mapping[str, Any], path: str) -> None:
    if wire.get("kind") == "intent" and wire.get("format") != FORMAT:
        raise StateDamaged(
            f"journal {path} has format {wire.get('format')!r}, this program reads {FORMAT}",
            fix="use the program that wrote it",
        )


def read_safely(path: str) -> bytes:
    """The contents of a file under ``cniDir``.

    Raises ``StateDamaged`` when others than root could have put it there, and when it is too large.
    """
    try:
        # O_NONBLOCK: opening a FIFO would wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _SAFE)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = "is a symbolic link" if error.errno == errno.ELOOP else str(error.strerror)
        raise StateDamaged(
            f"journal {path}: {reason}",
            fix="remove it by hand",
        ) from error
    try:
        found = os.fstat(descriptor)
        theirs = found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022
        if theirs or not stat.S_ISREG(found.st_mode):
            raise StateDamaged(
                f"journal {path} is not a regular file that only root can write",
                fix="remove it by hand",
            )
        if found.st_size > _LARGEST_FILE:
            raise StateDamaged(
                f"journal {path} has {found.st_size} bytes, and Multus writes at most"
                f" {_LARGEST_FILE}: another program wrote it, remove it by hand"
            )
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read()
    finally:
        os.close(descriptor)


def unlink(path: str) -> None:
    """Delete a file; one that does not exist is no error.  Raises ``IOFailure``."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: str, error: OSError) -> IOFailure:
    """The error to raise when *path* cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    fix = "free some space" if full else "look at its owner, mode and file system"
    return IOFailure(
        f"cannot write the journal {path}: {error.strerror}",
        fix=f"{fix}",
    )


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
