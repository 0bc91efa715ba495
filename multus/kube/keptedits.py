"""Edits that have to be made later: each file of a folder has some, which are made in order.

``<cniDir>/.edits/<number>`` is written by rename and fsynced, so it is complete or missing, and it
is removed only after all its edits were made.  Whoever makes them holds the file's lock, so that no
two processes do; a second time would change nothing, unless something new came in between.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from multus.api import atomic
from multus.api.errors import CNIError, IOFailure, TryAgainLater
from multus.api.kubernetes._edits import Edit

if TYPE_CHECKING:
    from multus.api.kubernetes._deadline import Deadline
    from multus.api.kubernetes._objects import ObjectRef

FOLDER = ".edits"
#: Prefix of files that cannot be read: they are renamed and kept, for people to look at.
DAMAGED = ".damaged-"
#: A file has a few edits of a few hundred bytes.
_LONGEST = 1 << 20
#: How often a file whose lock another process holds is tried, in seconds.
_PAUSE = 0.02

#: Makes one edit at the API server of a kubeconfig.
Make = Callable[[str, Edit], object]
#: Is told the name of a file, and why its edits are not made.
Told = Callable[[str, Exception], None]


class Kept(NamedTuple):
    """The edits of one file, and the kubeconfig that names their API server."""

    kubeconfig: str
    edits: tuple[Edit, ...]

    @property
    def objects(self) -> frozenset[ObjectRef]:
        """The objects that they change."""
        return frozenset(each.object for each in self.edits)


class KeptEdits:
    """The kept edits of one ``cniDir``: all, or those that *only* this kubeconfig's server gets."""

    def __init__(self, cni_dir: str, only: str = "") -> None:
        self.folder = os.path.join(cni_dir, FOLDER)
        self._only = only

    def names(self) -> list[str]:
        """The files, the oldest first."""
        try:
            found = os.listdir(self.folder)
        except OSError:
            return []
        return sorted((each for each in found if each.isdecimal()), key=int)

    def put(self, kubeconfig: str, edits: Sequence[Edit]) -> None:
        """Keep *edits*, after all that are kept already; raises ``IOFailure``."""
        wire = {"kubeconfig": kubeconfig, "edits": [each.to_wire() for each in edits]}
        data = json.dumps(wire).encode()
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            with self._numbering():
                # The clock may have been set back: the order is that of the numbers.
                last = int((self.names() or ["0"])[-1])
                number = max(last + 1, time.time_ns())
                atomic.write(os.path.join(self.folder, str(number)), data, fsync=True)
        except OSError as error:
            raise IOFailure(
                f"cannot write to {self.folder}: {error.strerror}",
                fix="check the disk and the folder's permissions",
            ) from error

    def make(self, name: str, make: Make) -> None:
        """Make the edits of the file *name*, then remove it; nothing when another process did.

        Raises the error of the edit that failed; ``TryAgainLater`` while another process makes
        them; ``ValueError`` for a file that cannot be read.
        """
        path = os.path.join(self.folder, name)
        with suppress(FileNotFoundError), _locked(path) as descriptor:
            kept = _read(descriptor)
            for each in kept.edits:
                make(kept.kubeconfig, each)
            os.unlink(path)

    def make_all(self, make: Make, told: Told = lambda *_: None) -> None:
        """Make all kept edits that can be made; an error leaves those of the same objects.

        *told* is called with the name of a file and its error.
        """
        failed: set[ObjectRef] = set()
        for name in self.names():
            try:
                kept = self._read(name)
            except ValueError as error:
                told(name, error)
                continue
            if kept is None or self._is_other(kept) or not failed.isdisjoint(kept.objects):
                continue
            try:
                self.make(name, make)
            except (CNIError, OSError) as error:
                failed |= kept.objects
                told(name, error)

    def make_before(self, wanted: ObjectRef, make: Make, deadline: Deadline) -> None:
        """Make all kept edits of *wanted*, in order, before a later one; raises as `make` does.

        It waits for another process that makes them.
        """
        for name in self.names():
            try:
                kept = self._read(name)
            except ValueError:
                continue  # who makes all of them sets it aside
            if kept is None or self._is_other(kept) or wanted not in kept.objects:
                continue
            while True:
                try:
                    self.make(name, make)
                    break
                except Busy:
                    if not deadline.remaining():
                        raise
                    time.sleep(_PAUSE)

    def set_aside(self, name: str) -> str:
        """Rename a file that cannot be read; returns its new path."""
        kept = os.path.join(self.folder, DAMAGED + name)
        os.rename(os.path.join(self.folder, name), kept)
        return kept

    def _read(self, name: str) -> Kept | None:
        """The edits of a file; None when it is gone; raises ``ValueError``."""
        try:
            with open(os.path.join(self.folder, name), "rb") as file:
                return _read(file.fileno())
        except OSError:
            return None

    def _is_other(self, kept: Kept) -> bool:
        """Whether they are for another API server, which may have objects of the same names."""
        return bool(self._only and kept.kubeconfig) and kept.kubeconfig != self._only

    @contextmanager
    def _numbering(self) -> Iterator[None]:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class Busy(TryAgainLater):
    """Another process makes the edits of this file."""


@contextmanager
def _locked(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"another process makes the edits in {path}") from None
        if not os.fstat(descriptor).st_nlink:
            raise FileNotFoundError(path)
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> Kept:
    data = os.pread(descriptor, _LONGEST + 1, 0)
    if len(data) > _LONGEST:
        raise ValueError(f"it has more than {_LONGEST} bytes")
    try:
        wire: Mapping[str, Any] = json.loads(data)
        return Kept(str(wire["kubeconfig"]), tuple(map(Edit.from_wire, wire["edits"])))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it has no edits: {error}") from error
