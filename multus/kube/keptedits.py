"""Edits that have to be made later: each file of a folder has some, which are made in order.

``<cniDir>/.edits/<number>`` is written by rename and fsynced, so it is complete or missing, and it
is removed only after all its edits were made.  Whoever makes them holds the file's lock, so that no
two processes do; a second time would change nothing, unless something new came in between.
``<number>.refused`` beside it says why the API server does not take them, for ``multus doctor``.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import evolve

from multus.api import atomic
from multus.api.errors import CNIError, IOFailure, TryAgainLater
from multus.api.kubernetes._edits import Edit
from multus.api.kubernetes._failures import ApiFailure

if TYPE_CHECKING:
    from multus.api.kubernetes._deadline import Deadline
    from multus.api.kubernetes._objects import ObjectRef

FOLDER = ".edits"
#: Prefix of files that cannot be read: they are renamed and kept, for people to look at.
DAMAGED = ".damaged-"
#: Suffix of the file that has the reason why edits are refused.
REFUSED = ".refused"
#: A file has a few edits of a few hundred bytes.
_LONGEST = 1 << 20
#: How often a file whose lock another process holds is tried, in seconds.
_PAUSE = 0.02
#: The most time of a call for edits of earlier calls that it need not wait for, in seconds.
_FOR_REST = 1.0
#: A pipe of that name does not keep a call waiting.
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

#: Makes one edit at the API server of a kubeconfig.
Make = Callable[[str, Edit], object]
#: Is told the name of a file, and why its edits are not made.
Told = Callable[[str, Exception], None]


def is_refused(error: Exception) -> bool:
    """Whether an edit would fail again, however often it is repeated."""
    return error.refused if isinstance(error, ApiFailure) else not isinstance(error, TryAgainLater)


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
        self._rest_is_made = False

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
            self._drop_note(name)

    def make_all(
        self, make: Make, told: Told = lambda *_: None, due: Callable[[str], bool] = lambda _: True
    ) -> None:
        """Make all kept edits that can be made and are *due*, by the name of their file.

        Those that are not made keep later ones of the same objects from being made.  An API server
        that does not answer is not asked again.  *told* is called with the name of a file and its
        error.
        """
        left: set[ObjectRef] = set()
        away: set[str] = set()
        for name in self.names():
            try:
                kept = self._read(name)
            except (ValueError, OSError) as error:
                if due(name):
                    told(name, error)
                continue
            if kept is None or self._is_other(kept):
                continue
            if not due(name) or kept.kubeconfig in away or not left.isdisjoint(kept.objects):
                left |= kept.objects
                continue
            try:
                self.make(name, make)
            except (CNIError, OSError) as error:
                left |= kept.objects
                if isinstance(error, TryAgainLater) and not is_refused(error):
                    away.add(kept.kubeconfig)
                told(name, error)

    def make_rest(self, edit: Callable[[Edit, Deadline], object], deadline: Deadline) -> None:
        """Make what is kept, once, in a part of the time that is left until *deadline*.

        It is for a node without a daemon, where whoever reaches the API server does this.
        """
        if self._rest_is_made:
            return
        self._rest_is_made = True
        until = time.monotonic() + min(_FOR_REST, deadline.remaining() / 4)
        part = evolve(deadline, at=until)

        def told(name: str, error: Exception) -> None:
            if isinstance(error, ValueError):
                with suppress(OSError):
                    self.set_aside(name)
            elif is_refused(error):
                self.note(name, str(error))

        self.make_all(
            lambda _, each: edit(each, part), told, due=lambda _: time.monotonic() < until
        )

    def make_before(self, wanted: ObjectRef, make: Make, deadline: Deadline) -> None:
        """Make all kept edits of *wanted*, in order, before a later one; raises as `make` does.

        It waits for another process that makes them.  What cannot be read is no reason to wait:
        nobody knows what it is about, and who makes all of them sets it aside.
        """
        for name in self.names():
            try:
                kept = self._read(name)
            except (ValueError, OSError):
                continue
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
                except CNIError as error:
                    raise self._blocked(name, wanted, error) from error

    def _blocked(self, name: str, wanted: ObjectRef, error: CNIError) -> CNIError:
        """The error of a later edit; one that lasts names the file, and what to do."""
        if not is_refused(error):
            return error
        return TryAgainLater(
            f"an earlier change of {wanted}, kept in {self.folder}/{name}, is refused:"
            f" {error.said}",
            fix=f"{error.fix or 'remove the reason'}; or delete the file, and have"
            " 'multus ipam reconcile' free what it would have freed",
        )

    def note(self, name: str, reason: str) -> None:
        """Write down why the edits of a file are refused, if the disk takes it."""
        with suppress(OSError):
            atomic.write(f"{self.folder}/{name}{REFUSED}", reason.encode(), fsync=False)

    def set_aside(self, name: str) -> str:
        """Rename a file that cannot be read; returns its new path."""
        kept = os.path.join(self.folder, DAMAGED + name)
        os.rename(os.path.join(self.folder, name), kept)
        self._drop_note(name)
        return kept

    def _drop_note(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(f"{self.folder}/{name}{REFUSED}")

    def _read(self, name: str) -> Kept | None:
        """The edits of a file; None when it is gone; raises ``ValueError`` and ``OSError``."""
        try:
            descriptor = os.open(os.path.join(self.folder, name), _READING)
        except FileNotFoundError:
            return None
        try:
            return _read(descriptor)
        finally:
            os.close(descriptor)

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
    descriptor = os.open(path, _READING)
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
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it has no edits: {error}") from error
