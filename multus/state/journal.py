"""The journal: what is attached, on disk, before and after it is.

One file for each container and interface under ``cniDir``, named ``<container>:<interface>``; ``:``
stands in neither name.  A file is appended to, a line at a time: its CRC-32 in eight hexadecimal
digits, a space, and a JSON object (``multus.state.record``).

* ``intent``, then a ``delegate`` for each network: all that is needed to undo what the request is
  about to do, even by another process, without the configuration, the API or the netns.  They are
  written beside, seen to the disk and renamed before the first delegate is invoked, since a
  delegate's address may outlive a power cut: a file without all of them is damaged.
* ``attached``: a step of a delegate's chain succeeded, with its result.
* ``detached``: a delegate is gone, while others could not be removed.
* ``failed``: a delegate could not be removed, and why.
* ``finished``: the answer that the runtime got.
* ``removing``: a DEL has begun, and some may be gone; with it the record is unfinished again.

The lines after the delegates are not seen to the disk: without them more is undone than is there,
which is no error.  A line that is torn or whose sum is wrong is left out, and the others still
count.  The file is deleted when every delegate is gone.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from multus.api.errors import BadEnvironment, CNIError, IOFailure, StateDamaged
from multus.api.names import is_identifier, unnameable
from multus.state import recordfile
from multus.state.liveness import netns_identity
from multus.state.record import intent_wire, planned_wire
from multus.state.recordfile import NEW, unlink, unwritable

if TYPE_CHECKING:
    from multus.api.request import Request
    from multus.state.record import Planned, Record

#: A damaged file is kept under this name, for people, once what it says is undone.
DAMAGED = ":damaged"

#: The file of a container is also kept under this name when something of it could not be removed.
STUCK = ":stuck"

#: A file's name may have 255 bytes on every file system of today.
_LONGEST_ID = 255 - len(":") - 15 - len(DAMAGED)


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
            raise unwritable(self.folder, error) from error
        self._require_safe()

    def begin(
        self, request: Request, conf: Mapping[str, Any], planned: Sequence[Planned]
    ) -> recordfile.Writer:
        """Write the intent and see it to the disk; from here on DEL can undo the request.

        A full disk, for example, fails here, before anything is attached.  The caller closes the
        writer.
        """
        path = self._path(request.container_id, request.ifname)
        intent = intent_wire(
            request, conf, len(planned), time.time(), netns_identity(request.netns)
        )
        wires = [intent, *(planned_wire(index, each) for index, each in enumerate(planned))]
        return recordfile.create(path, wires)

    def find(self, container_id: str, ifname: str) -> Record | None:
        """The record of one container and interface; None when there is none.

        What is damaged is said in the record.  Raises ``StateDamaged`` for a file that is not ours
        to trust.
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

    def records(self) -> Iterator[Record | CNIError]:
        """Every record, sorted by file name; for one that cannot be read, why."""
        for container_id, ifname in self._keys():
            path = os.path.join(self.folder, f"{container_id}:{ifname}")
            try:
                yield recordfile.read(path, container_id, ifname)
            except FileNotFoundError:
                continue  # detached while we looked
            except OSError as error:
                yield IOFailure(f"cannot read the journal {path}: {error.strerror}")
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
        """The files whose attachments could not be removed: path, and record or why not read."""
        for name in self._names():
            container_id, _, ifname = name.removesuffix(STUCK).partition(":")
            if name.endswith(STUCK):
                path = os.path.join(self.folder, name)
                try:
                    yield path, recordfile.read(path, container_id, ifname)
                except FileNotFoundError:
                    continue
                except CNIError as error:
                    yield path, error

    def adopt(
        self, path: str, request: Request, conf: Mapping[str, Any], planned: Sequence[Planned]
    ) -> Record | None:
        """Make a record of what a predecessor of this program wrote to *path*, which is removed."""
        self.begin(request, conf, planned).close()
        unlink(path)
        return self.find(request.container_id, request.ifname)

    def unborn(self) -> list[tuple[str, str]]:
        """Containers and interfaces whose intent was being written when its process was killed."""
        names = [name[: -len(NEW)] for name in self._names() if name.endswith(NEW)]
        parts = [name.partition(":") for name in names]
        return [(c, i) for c, _, i in parts if is_identifier(c) and not unnameable(i)]

    def tidy(self, container_id: str, ifname: str) -> None:
        """Remove an intent that was never whole; the container's lock must be held."""
        unlink(f"{self._path(container_id, ifname)}{NEW}")

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
            raise IOFailure(f"cannot list {self.folder}: {error.strerror}") from error
        self._require_safe()
        return names

    def _path(self, container_id: str, ifname: str) -> str:
        if not is_identifier(container_id) or unnameable(ifname):
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
