"""The journal: what is attached, on disk, before and after it is.

One file for each container and interface under ``cniDir``, named ``<container>:<interface>``; ``:``
stands in neither name.  A file is appended to, a record a line: its CRC-32 in eight hexadecimal
digits, a space, and a JSON object.

* ``intent``, the first: all that is needed to undo what the request is about to do, even by
  another process, without the configuration, the API or the netns.  It is on the disk itself before
  the first delegate is invoked, since a delegate's address may outlive a power cut.
* ``attached``: a delegate's ADD succeeded, with its result.
* ``detached``: a delegate is gone, while others could not be removed.
* ``finished``: the answer that the runtime got.

A record that is torn or whose sum is wrong ends the file's readable part; what stands before it
still counts.  The file is deleted when every delegate is gone.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from binascii import crc32
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from multus.errors import CNIError, IOFailure, StateDamaged
from multus.jsontext import LARGEST, decode_object, encode
from multus.model.names import interface_problem, is_identifier
from multus.model.network import Attachment, Delegate, Plugin
from multus.model.request import Request, parse_args
from multus.model.result import Result

FORMAT = 1

#: A damaged file is kept under this name, for people, once what it says is undone.
DAMAGED = ":damaged"

_LARGEST_FILE = 4 * LARGEST


@frozen
class Step:
    """A plugin of a planned delegate: the configuration that it gets, and who carries it out."""

    plugin: Plugin
    config: Mapping[str, Any]
    invoker: str


@frozen
class Planned:
    """A delegate about to be invoked: its chain's steps in order."""

    delegate: Delegate
    steps: tuple[Step, ...]


@frozen
class Record:
    """What one journal file says.

    ``done`` maps a delegate's index to its attachment, ``gone`` holds the indexes of those that
    were detached.  ``result`` is the answer of the ADD, None when it never gave one.  ``damage``
    says what is wrong with the file's end, empty when nothing is.
    """

    path: str
    request: Request
    conf: Mapping[str, Any] = field(repr=False)
    planned: tuple[Planned, ...]
    started: float
    done: Mapping[int, Attachment] = field(factory=dict)
    gone: frozenset[int] = frozenset()
    result: Result | None = None
    damage: str = ""

    @property
    def network(self) -> str:
        """The name of Multus' own network."""
        return str(self.conf.get("name", ""))

    def left(self) -> list[int]:
        """The indexes of the delegates that may still be there, in order."""
        return [index for index in range(len(self.planned)) if index not in self.gone]

    def attachments(self) -> tuple[Attachment, ...]:
        """The attachments that stand, in order of invocation."""
        return tuple(self.done[index] for index in self.left() if index in self.done)


@frozen
class Writer:
    """Appends outcomes to the journal of one container and interface."""

    path: str

    def attached(self, index: int, attachment: Attachment) -> None:
        self._append({"kind": "attached", "delegate": index, **_attachment_wire(attachment)})

    def detached(self, index: int) -> None:
        self._append({"kind": "detached", "delegate": index})

    def finished(self, result: Result) -> None:
        self._append({"kind": "finished", "result": result.to_wire("1.1.0")})

    def forget(self) -> None:
        """Delete the file: every delegate is gone."""
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _append(self, record: Mapping[str, Any]) -> None:
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | _SAFE)
            try:
                _write_all(descriptor, _line(record))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _unwritable(self.path, error) from error


_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW


@frozen
class Journal:
    """All records under one ``cniDir``."""

    folder: str

    def prepare(self) -> None:
        """Make the folder, 0700, and refuse one that others could write to.

        Raises ``StateDamaged`` or ``IOFailure``.
        """
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        self._require_safe()

    def begin(
        self, request: Request, conf: Mapping[str, Any], planned: Sequence[Planned]
    ) -> Writer:
        """Write the intent and see it to the disk; from here on DEL can undo the request.

        A full disk, for example, fails here, before anything is attached.
        """
        path = self._path(request.container_id, request.ifname)
        line = _line(_intent(request, conf, planned))
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
            try:
                _write_all(descriptor, line)
                os.fdatasync(descriptor)
            except OSError:
                os.unlink(path)
                raise
            finally:
                os.close(descriptor)
            self._sync()
        except OSError as error:
            raise _unwritable(path, error) from error
        return Writer(path)

    def find(self, container_id: str, ifname: str) -> Record | None:
        """The record of one container and interface; None when there is none.

        Raises ``StateDamaged`` for a file that is not ours to trust.
        """
        path = self._path(container_id, ifname)
        if not os.path.lexists(path):
            return None
        self._require_safe()
        return _read(path)

    def writer(self, record: Record) -> Writer:
        """What appends to *record*'s file."""
        return Writer(record.path)

    def records(self) -> Iterator[Record | StateDamaged]:
        """Every record, sorted by file name; for one that cannot be read at all, why."""
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return
        except OSError as error:
            raise IOFailure(f"cannot list {self.folder}: {error.strerror}") from error
        self._require_safe()
        for name in names:
            container_id, _, ifname = name.partition(":")
            if not is_identifier(container_id) or interface_problem(ifname):
                continue
            try:
                yield _read(os.path.join(self.folder, name))
            except StateDamaged as error:
                yield error
            except FileNotFoundError:
                continue  # detached while we looked

    def set_aside(self, container_id: str, ifname: str) -> str:
        """Keep a damaged file under another name, which is returned."""
        path = self._path(container_id, ifname)
        aside = f"{path}{DAMAGED}"
        try:
            os.rename(path, aside)
        except OSError as error:
            raise _unwritable(path, error) from error
        return aside

    def _path(self, container_id: str, ifname: str) -> str:
        if not is_identifier(container_id) or interface_problem(ifname):
            raise StateDamaged(
                f"container {container_id!r} with interface {ifname!r} can have no record"
            )
        return os.path.join(self.folder, f"{container_id}:{ifname}")

    def _require_safe(self) -> None:
        try:
            found = os.lstat(self.folder)
        except OSError as error:
            raise IOFailure(f"cannot read {self.folder}: {error.strerror}") from error
        if not stat.S_ISDIR(found.st_mode):
            raise StateDamaged(
                f"'cniDir' {self.folder} is no directory: name another, or remove it"
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


# --- One line -------------------------------------------------------------------------------------


def _line(record: Mapping[str, Any]) -> bytes:
    text = encode(record)
    return b"%08x %s\n" % (crc32(text), text)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _unwritable(path: str, error: OSError) -> IOFailure:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    fix = "free some space" if full else "look at its owner, mode and file system"
    return IOFailure(f"cannot write the journal {path}: {error.strerror}: {fix}")


def _parse_line(line: bytes) -> dict[str, Any]:
    if len(line) < 10 or line[8:9] != b" ":
        raise ValueError("it is torn")
    if int(line[:8], 16) != crc32(line[9:]):
        raise ValueError("its checksum is wrong")
    return decode_object(line[9:], "the record")


# --- The whole file -------------------------------------------------------------------------------


def _read(path: str) -> Record:
    data = _read_bytes(path)
    lines = data.split(b"\n")
    torn = lines.pop()  # what follows the last newline: nothing, when the file is whole
    if not lines:
        raise StateDamaged(f"journal {path} is {'torn' if torn else 'empty'}: nothing was attached")
    try:
        record = _read_intent(path, _parse_line(lines[0]))
    except (ValueError, KeyError, TypeError, AttributeError, CNIError) as error:
        raise StateDamaged(f"journal {path} cannot be read: its first record: {error}") from error
    for number, line in enumerate(lines[1:], start=2):
        try:
            record = _apply(record, _parse_line(line))
        except (ValueError, KeyError, TypeError, AttributeError, CNIError) as error:
            return evolve(record, damage=f"line {number}: {error}")
    return evolve(record, damage="its last line is torn") if torn else record


def _read_bytes(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | _SAFE)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = "is a symbolic link" if error.errno == errno.ELOOP else str(error.strerror)
        raise StateDamaged(f"journal {path}: {reason}: remove it by hand") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.geteuid()):
            raise StateDamaged(f"journal {path} is not a file of root's: remove it by hand")
        if found.st_size > _LARGEST_FILE:
            raise StateDamaged(f"journal {path} has {found.st_size} bytes: it is none of ours")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read()
    finally:
        os.close(descriptor)


def _apply(record: Record, line: Mapping[str, Any]) -> Record:
    kind = line["kind"]
    if kind == "attached":
        index = _index(record, line)
        attachment = _read_attachment(record.planned[index].delegate, line)
        return evolve(record, done={**record.done, index: attachment})
    if kind == "detached":
        return evolve(record, gone=record.gone | {_index(record, line)})
    if kind == "finished":
        return evolve(record, result=Result.from_wire(line["result"]))
    raise ValueError(f"unknown kind {kind!r}")


def _index(record: Record, line: Mapping[str, Any]) -> int:
    index = line["delegate"]
    if not isinstance(index, int) or not 0 <= index < len(record.planned):
        raise ValueError(f"there is no delegate {index!r}")
    return index


# --- JSON of the values ---------------------------------------------------------------------------


def _intent(
    request: Request, conf: Mapping[str, Any], planned: Sequence[Planned]
) -> dict[str, Any]:
    return {
        "kind": "intent",
        "format": FORMAT,
        "started": round(time.time(), 3),
        "container": request.container_id,
        "ifname": request.ifname,
        "netns": request.netns,
        "path": list(request.path),
        "args": request.environ.get("CNI_ARGS", ""),
        "conf": conf,
        "delegates": [_planned_wire(each) for each in planned],
    }


def _planned_wire(planned: Planned) -> dict[str, Any]:
    delegate = planned.delegate
    return {
        "name": delegate.name,
        "cniVersion": delegate.cni_version,
        "label": delegate.label,
        "source": delegate.source,
        "ifname": delegate.ifname,
        "primary": delegate.primary,
        "default": delegate.default,
        "disableCheck": delegate.disable_check,
        "disableGC": delegate.disable_gc,
        "options": delegate.options,
        "steps": [{"config": step.config, "invoker": step.invoker} for step in planned.steps],
    }


def _attachment_wire(attachment: Attachment) -> dict[str, Any]:
    return {
        "result": attachment.result.to_wire("1.1.0"),
        "versions": list(attachment.versions),
        "invokers": list(attachment.invokers),
        "seconds": round(attachment.seconds, 6),
    }


def _read_intent(path: str, line: Mapping[str, Any]) -> Record:
    if line["kind"] != "intent":
        raise ValueError("it is no intent")
    if line["format"] != FORMAT:
        raise ValueError(f"its format is {line['format']}, known is {FORMAT}")
    container_id, ifname = line["container"], line["ifname"]
    if os.path.basename(path) != f"{container_id}:{ifname}":
        raise ValueError(f"it is of container {container_id!r}, interface {ifname!r}")
    environ = {
        "CNI_CONTAINERID": container_id,
        "CNI_NETNS": line["netns"],
        "CNI_IFNAME": ifname,
        "CNI_PATH": ":".join(line["path"]),
        "CNI_ARGS": line["args"],
    }
    return Record(
        path=path,
        request=Request(
            command="DEL",
            container_id=container_id,
            netns=line["netns"],
            ifname=ifname,
            path=tuple(line["path"]),
            args=parse_args(line["args"]),
            environ=environ,
        ),
        conf=line["conf"],
        planned=tuple(_read_planned(each) for each in line["delegates"]),
        started=float(line["started"]),
    )


def _read_planned(raw: Mapping[str, Any]) -> Planned:
    steps = tuple(
        Step(Plugin(each["config"], each["invoker"]), each["config"], each["invoker"])
        for each in raw["steps"]
    )
    if not steps:
        raise ValueError("a delegate has no steps")
    delegate = Delegate(
        name=raw["name"],
        plugins=tuple(step.plugin for step in steps),
        cni_version=raw["cniVersion"],
        label=raw["label"],
        source=raw["source"],
        ifname=raw["ifname"],
        primary=raw["primary"],
        default=raw["default"],
        options=raw["options"],
        disable_check=raw["disableCheck"],
        disable_gc=raw["disableGC"],
    )
    return Planned(delegate, steps)


def _read_attachment(delegate: Delegate, raw: Mapping[str, Any]) -> Attachment:
    return Attachment(
        delegate=delegate,
        result=Result.from_wire(raw["result"]),
        versions=tuple(raw["versions"]),
        invokers=tuple(raw["invokers"]),
        seconds=float(raw["seconds"]),
    )
