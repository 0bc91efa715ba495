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
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from attrs import evolve

from multus.api import atomic
from multus.api.errors import CNIError, IOFailure, TryAgainLater
from multus.api.kubernetes._edits import Edit
from multus.kube.replay import Begun, Kept, Make, carry_out, is_refused

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
#: How many files are open at a time.
_AT_A_TIME = 128
#: How often a file whose lock another process holds is tried, in seconds.
_PAUSE = 0.02
#: The most time of a call for edits of earlier calls that it need not wait for, in seconds.
_FOR_REST = 1.0
#: A pipe of that name does not keep a call waiting.
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

#: Is told the name of a file, and why its edits are not made.
Told = Callable[[str, Exception], None]


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
                self._write(str(number), data, fsync=True)
        except OSError as error:
            raise IOFailure(
                f"cannot write to {self.folder}: {error.strerror}",
                fix="check the disk and the folder's permissions",
            ) from error

    def make_all(
        self, make: Make, told: Told = lambda *_: None, due: Callable[[str], bool] = lambda _: True
    ) -> None:
        """Make all kept edits that can be made and are *due*, by the name of their file.

        Those that are not made keep later ones of the same objects from being made.  *told* is
        called with the name of a file and its error.
        """
        left: set[ObjectRef] = set()
        wanted: list[str] = []
        for name in self.names():
            try:
                kept = self._read(name)
            except (ValueError, OSError) as error:
                if due(name):
                    told(name, error)
                continue
            if kept is None or self._is_other(kept):
                continue
            if due(name) and left.isdisjoint(kept.objects):
                wanted.append(name)
            else:
                left |= kept.objects
        self._make(wanted, make, told)

    def make_rest(
        self, edit_each: Callable[[Sequence[Edit], Deadline], Sequence[object]], deadline: Deadline
    ) -> None:
        """Make what is kept, once, in a part of the time that is left until *deadline*.

        It is for a node without a daemon, where whoever reaches the API server does this.
        """
        if self._rest_is_made:
            return
        self._rest_is_made = True
        part = evolve(deadline, at=time.monotonic() + min(_FOR_REST, deadline.remaining() / 4))

        def told(name: str, error: Exception) -> None:
            if isinstance(error, ValueError):
                with suppress(OSError):
                    self.set_aside(name)
            elif is_refused(error):
                self.note(name, error)

        self.make_all(lambda _, edits: edit_each(edits, part), told)

    def make_before(self, wanted: ObjectRef, make: Make, deadline: Deadline) -> None:
        """Make all kept edits of *wanted*, in order, before a later one; raises the first error.

        It waits for another process that makes them.  What cannot be read is no reason to wait:
        its objects are not known, and who makes all of them sets it aside.
        """
        failed: list[tuple[str, Exception]] = []
        while names := self._about(wanted):
            self._make(names, make, lambda *one: failed.append(one))
            if not failed:
                continue
            name, error = failed[0]
            if not isinstance(error, Busy) or not deadline.remaining():
                raise self._blocked(name, wanted, error) from error
            failed.clear()
            time.sleep(_PAUSE)

    def _about(self, wanted: ObjectRef) -> list[str]:
        """The files that have to be made before a later edit of *wanted*, the oldest first."""
        found, objects = list[str](), {wanted}
        for name in reversed(self.names()):
            try:
                kept = self._read(name)
            except (ValueError, OSError):
                continue
            if kept is None or self._is_other(kept) or objects.isdisjoint(kept.objects):
                continue
            found.append(name)
            objects |= kept.objects
        return found[::-1]

    def _make(self, names: Sequence[str], make: Make, told: Told) -> None:
        """Make the edits of these files, and remove each whose edits are all made."""
        left: set[ObjectRef] = set()
        for start in range(0, len(names), _AT_A_TIME):
            with ExitStack() as stack:
                files = list[Begun]()
                for name in names[start : start + _AT_A_TIME]:
                    begun = self._begun(name, stack)
                    files += [begun] if begun else []
                carry_out(files, make, left)
                for each in files:
                    if each.error is None and each.is_made:
                        self._remove(each)
                    if each.error is not None:
                        told(each.name, each.error)

    def _begun(self, name: str, stack: ExitStack) -> Begun | None:
        """A file that is locked until *stack* ends, or why it is not; None when it is gone."""
        try:
            try:
                descriptor = stack.enter_context(_locked(os.path.join(self.folder, name)))
                return Begun(name, _read(descriptor))
            except Busy as error:
                kept = self._read(name)
                return Begun(name, kept, error) if kept else None
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            return Begun(name, Kept("", ()), error)

    def _remove(self, each: Begun) -> None:
        try:
            os.unlink(os.path.join(self.folder, each.name))
        except OSError as error:
            each.error = error
        else:
            self._drop_note(each.name)

    def _blocked(self, name: str, wanted: ObjectRef, error: Exception) -> Exception:
        """The error of a later edit; one that lasts names the file, and what to do."""
        if not is_refused(error):
            return error
        said, fix = str(error), "remove the reason"
        if isinstance(error, CNIError):
            said, fix = error.said, error.fix or fix
        return TryAgainLater(
            f"an earlier change of {wanted}, kept in {self.folder}/{name}, is not made: {said}",
            fix=f"{fix}; or delete the file, and have 'multus ipam reconcile' free what it would"
            " have freed",
        )

    def note(self, name: str, reason: Exception) -> None:
        """Write down why the edits of a file are refused, if the disk takes it."""
        with suppress(OSError), self._numbering():
            self._write(f"{name}{REFUSED}", f"{reason}".encode(), fsync=False)

    def _write(self, name: str, data: bytes, *, fsync: bool) -> None:
        """Write a file under the lock; what a killed writer has left is replaced."""
        path, new = (os.path.join(self.folder, each) for each in (name, ".new"))
        atomic.write(path, data, fsync=fsync, temporary=new)

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
