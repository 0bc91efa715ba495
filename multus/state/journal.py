"""The journal: a file for each container and interface, written before anything is attached.

The files are under ``cniDir`` and named ``<container>:<interface>``; neither name contains ``:``.
A file consists of lines, which are appended one by one: a CRC-32 in eight hexadecimal digits, a
space, and a JSON object (``multus.state.record``).

* ``intent``, then a ``delegate`` for each network: all that another process needs to undo the
  request, without the configuration, the API or the namespace.  They are in a file that is renamed
  into place and fsynced, in this order, before the first delegate is attached, since an address may
  outlive a power cut.  A file without all of them is damaged, or its request attached nothing.
* ``attached``: a step of a delegate's chain succeeded, with its result.
* ``detached``: a delegate is gone, while others could not be removed.
* ``trying``: the removal of a delegate begins once more.
* ``failed``: a delegate could not be removed, and why.
* ``finished``: the answer that the runtime got.
* ``attaching``, ``detaching``: the intent of a change of the running container, one more delegate
  or one less, fsynced before it is carried out; ``joined`` ends the first, ``detached`` the second.
* ``removing``: a removal has begun, and some delegates may be gone: the record is not finished any
  more.

The lines after the delegates are not fsynced.  When a power cut loses them, delegates are removed
that are gone already, which is no error.  A torn line, or one with a wrong checksum, is left out;
the other lines count.  The file is deleted when every delegate is gone.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from multus.api.errors import BadEnvironment, CNIError, IOFailure, StateDamaged
from multus.api.names import is_identifier, unnameable
from multus.state import recordfile
from multus.state.lines import attached_wire, finished_wire, intent_wire, planned_wire
from multus.state.liveness import boot, netns_identity
from multus.state.recordfile import NEW, unlink, unwritable

if TYPE_CHECKING:
    from multus.api.network import Attachment
    from multus.api.request import Request
    from multus.api.result import Result
    from multus.state.record import Planned, Record

#: Appended to the name of a damaged file, which is kept for people once what it names is removed.
DAMAGED = ":damaged"

#: Appended to the name of a second link to the file, when a delegate was given up.
STUCK = ":stuck"

#: The folder of libcni's files, which the Go Multus had beside its records.
RESULTS = "results"

#: A file's name may have 255 bytes on every file system of today.
_LONGEST_ID = 255 - len(":") - 15 - len(DAMAGED)


class Journal:
    """All records under *folder*, a ``cniDir``."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Make the folder, 0700, and refuse one that others could write to.

        Raises ``StateDamaged`` or ``IOFailure``.
        """
        try:
            _make_folder(self.folder, 0o700)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        self._require_safe()

    def begin(
        self, request: Request, conf: Mapping[str, Any], planned: Sequence[Planned]
    ) -> recordfile.Writer:
        """Write the intent and fsync it; from here on DEL can undo the request.

        A full disk fails here, before anything is attached.  The caller closes the writer.  Raises
        ``IOFailure``, and ``InvalidConfig`` for what is too large.
        """
        path = self._path(request.container_id, request.ifname)
        return recordfile.create(path, _intended(request, conf, planned))

    def find(self, container_id: str, ifname: str) -> Record | None:
        """The record of one container and interface; None when there is none.

        The record says what of it is damaged.  Raises ``StateDamaged`` for a file that others than
        root could have written.
        """
        path = self._path(container_id, ifname)
        try:
            record = recordfile.read(path, container_id, ifname)
        except FileNotFoundError:
            return None
        self._require_safe()
        return record

    def keys(self) -> frozenset[tuple[str, str]]:
        """The containers and interfaces that have a record."""
        return frozenset(self._keys())

    def of(self, container_id: str) -> list[str]:
        """The interfaces for which a container has a record, sorted."""
        return sorted(ifname for known, ifname in self._keys() if known == container_id)

    def records(self) -> Iterator[Record | CNIError]:
        """Every record, sorted by file name; an error in place of one that cannot be read."""
        for container_id, ifname in self._keys():
            path = os.path.join(self.folder, f"{container_id}:{ifname}")
            try:
                yield recordfile.read(path, container_id, ifname)
            except FileNotFoundError:
                continue  # it was deleted meanwhile
            except OSError as error:
                yield _because(f"cannot read the journal {path}: {error.strerror}", error)
            except CNIError as error:
                yield error

    def others(self) -> list[str]:
        """The names of the files that the Go Multus may have written."""
        found = [name for name in self._names() if is_identifier(name)]
        return [name for name in found if not os.path.isdir(os.path.join(self.folder, name))]

    def has_results(self) -> bool:
        """Whether libcni may have files of the Go Multus's attachments here."""
        return os.path.isdir(os.path.join(self.folder, RESULTS))

    def knows(self, container_id: str) -> bool:
        """Whether any file, a damaged one too, is about a container."""
        return any(name.partition(":")[0] == container_id for name in self._names())

    def kept_aside(self) -> list[str]:
        """The paths of the damaged files that are kept for people, see ``set_aside``."""
        return [os.path.join(self.folder, name) for name in self._names() if name.endswith(DAMAGED)]

    def set_aside(self, path: str) -> str:
        """Keep the damaged file at *path* under another name, which is returned."""
        aside = f"{path}{DAMAGED}"
        try:
            os.rename(path, aside)
        except OSError as error:
            raise unwritable(path, error) from error
        return aside

    def keep_stuck(self, path: str) -> str:
        """Keep the file at *path* under a second name, which is returned, for people."""
        aside = f"{path}{STUCK}"
        try:
            with suppress(FileNotFoundError):
                os.unlink(aside)
            os.link(path, aside)
        except OSError as error:
            raise unwritable(aside, error) from error
        return aside

    def is_stuck(self, container_id: str, ifname: str) -> bool:
        """Whether something of this container and interface was given up."""
        return os.path.lexists(f"{self._path(container_id, ifname)}{STUCK}")

    def stuck(self) -> Iterator[tuple[str, Record | CNIError]]:
        """The records of what was given up: path, and record or why it cannot be read."""
        for name in self._names():
            container_id, _, ifname = name.removesuffix(STUCK).partition(":")
            if name.endswith(STUCK):
                path = os.path.join(self.folder, name)
                try:
                    yield path, recordfile.read(path, container_id, ifname)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    yield path, _because(f"cannot read {path}: {error.strerror}", error)
                except CNIError as error:
                    yield path, error

    def adopt(
        self,
        paths: Sequence[str],
        request: Request,
        conf: Mapping[str, Any],
        planned: Sequence[Planned],
        done: Mapping[int, Attachment],
        result: Result | None = None,
    ) -> Record | None:
        """Make a record of what the Go Multus wrote to *paths*, and remove these files in order.

        With *result*, the answer that the runtime got, it is finished from the moment it is there.
        """
        wires = _intended(request, conf, planned)
        wires += [attached_wire(index, attachment) for index, attachment in done.items()]
        wires += [] if result is None else [finished_wire(result)]
        path = self._path(request.container_id, request.ifname)
        recordfile.create(path, wires, replacing=True).close()
        for each in paths:
            unlink(each)
        return self.find(request.container_id, request.ifname)

    def compact(self, record: Record) -> Record:
        """Write the record of a running container again, without the delegates that are gone.

        Each change appends lines, and a container may be changed for as long as it runs.  The file
        is replaced as a whole.  The container's lock must be held.
        """
        left = list(enumerate(record.left()))
        intent = (record.conf, len(left), record.started, record.netns_identity, record.boot)
        wires = [intent_wire(record.request, *intent)]
        wires += [planned_wire(number, record.planned[index]) for number, index in left]
        wires += [
            attached_wire(number, record.done[index])
            for number, index in left
            if index in record.done
        ]
        wires += [] if record.result is None else [finished_wire(record.result)]
        recordfile.create(record.path, wires, replacing=True).close()
        return recordfile.read(record.path, *record.key)

    def incomplete(self) -> list[tuple[str, str]]:
        """Containers and interfaces whose intent was never completed: its process was killed."""
        names = [name[: -len(NEW)] for name in self._names() if name.endswith(NEW)]
        parts = [name.partition(":") for name in names]
        return [(c, i) for c, _, i in parts if is_identifier(c) and not unnameable(i)]

    def intent_path(self, container_id: str, ifname: str) -> str:
        """The path of an intent while it is being written."""
        return f"{self._path(container_id, ifname)}{NEW}"

    def remove_incomplete(self, container_id: str, ifname: str) -> None:
        """Remove an intent that was never completed; the container's lock must be held."""
        unlink(self.intent_path(container_id, ifname))

    def _keys(self) -> Iterator[tuple[str, str]]:
        for name in self._names():
            container_id, colon, ifname = name.partition(":")
            if colon and is_identifier(container_id) and not unnameable(ifname):
                yield container_id, ifname

    def _names(self) -> list[str]:
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            fix = "run it as root" if isinstance(error, PermissionError) else ""
            raise IOFailure(f"cannot list {self.folder}: {error.strerror}", fix=fix) from error
        self._require_safe()
        return names

    def _path(self, container_id: str, ifname: str) -> str:
        if not is_identifier(container_id) or unnameable(ifname):
            raise BadEnvironment(
                f"container {container_id!r} with interface {ifname!r} can have no record"
            )
        if len(container_id) > _LONGEST_ID:
            raise BadEnvironment(
                f"CNI_CONTAINERID has {len(container_id)} characters",
                fix=f"use at most {_LONGEST_ID}, it has to fit a file's name",
            )
        return os.path.join(self.folder, f"{container_id}:{ifname}")

    def _require_safe(self) -> None:
        try:
            found = os.lstat(self.folder)
        except OSError as error:
            raise IOFailure(f"cannot read {self.folder}: {error.strerror}") from error
        if not stat.S_ISDIR(found.st_mode):
            raise StateDamaged(
                f"'cniDir' {self.folder} is not a directory",
                fix="name one that is not a symbolic link, or remove what is there",
            )
        if found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid()):
            raise StateDamaged(
                f"'cniDir' {self.folder} is writable for others than root",
                fix="make it root's, with mode 0700",
            )


def _because(reason: str, cause: OSError) -> IOFailure:
    """An error that is handed on, not raised, with its cause."""
    error = IOFailure(reason)
    error.__cause__ = cause
    return error


def _intended(
    request: Request, conf: Mapping[str, Any], planned: Sequence[Planned]
) -> list[dict[str, Any]]:
    """The lines of the intent to attach *planned*."""
    identity = netns_identity(request.netns)
    intent = intent_wire(request, conf, len(planned), time.time(), identity, boot())
    return [intent, *(planned_wire(index, each) for index, each in enumerate(planned))]


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
        # Another call may have made the parent meanwhile, and this folder too.  Where no folder can
        # be made, such as in /proc, this raises once more.
        with suppress(FileExistsError):
            os.mkdir(path, mode)
