"""Making edits: many waiting edits of one object are one write, and a lost race reads again.

Each write names the version of the object that the edits were computed from.  The API server
refuses it when another node was faster; then the edits are computed again from the newer object.
Nothing is locked, and no leader is elected: of several nodes that write at the same time, one
always succeeds.  A write that the server refuses for what it is, too large for example, is divided
until the edit that it is about is alone.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from multus.api.errors import CNIError
from multus.api.kubernetes._edits import Edit
from multus.api.kubernetes._failures import ApiFailure, NotFound, Unreachable
from multus.kube.batches import MOST, Computed, Job, alike, compute
from multus.kube.decoding import metadata_of
from multus.kube.early import Early, creating, undo

if TYPE_CHECKING:
    from multus.api.kubernetes._deadline import Deadline
    from multus.api.kubernetes._objects import ObjectRef
    from multus.kube.objectwriter import ObjectWriter

_Wire = Mapping[str, Any]

#: How many objects are remembered as they were written last.
_REMEMBERED = 32
#: The least pause after a lost race, and the longest after many; seconds.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 2.0


class _Line:
    """The edits of one object that wait, in order; who has the ``turn`` makes them."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.waiting: list[Job] = []
        self.users = 0
        #: The most edits of the next write: fewer after a refusal, until the refused one is alone.
        self.most = MOST


class Editor:
    """Makes edits by *writer*; safe to use from several threads.

    *read* asks the API server for an object.
    """

    def __init__(
        self,
        writer: ObjectWriter,
        read: Callable[[ObjectRef, Deadline], _Wire],
    ) -> None:
        self._writer, self._read = writer, read
        self._known: Callable[[ObjectRef], _Wire | None] = lambda _: None
        self._lacks: Callable[[ObjectRef], bool] = lambda _: False
        self._lock = threading.Lock()
        self._lines: dict[ObjectRef, _Line] = {}
        self._written: OrderedDict[ObjectRef, _Wire] = OrderedDict()

    def watch(
        self,
        known: Callable[[ObjectRef], _Wire | None],
        lacks: Callable[[ObjectRef], bool],
    ) -> None:
        """Begin with what a watch says: *known* returns an object, None when it is unknown.

        *lacks* says whether the watch knows that an object does not exist.
        """
        self._known, self._lacks = known, lacks

    def edit(self, edit: Edit, deadline: Deadline) -> Any:
        """Make *edit*; returns the answer of its function, or raises its error.

        Raises an error of the API server too; then the edit may have been made.
        """
        (found,) = self.edit_each([edit], deadline)
        if isinstance(found, CNIError):
            raise found
        return found

    def edit_each(self, edits: Sequence[Edit], deadline: Deadline) -> list[Any]:
        """Make *edits*, all of one object, in their order, and in one write when that can be.

        Returns the answer of each, or the ``CNIError`` for which it, and those after it, were not
        made.
        """
        jobs = list[Job]()
        for each in edits:
            jobs.append(Job(each, jobs[-1] if jobs else None))
        late: CNIError | None = None
        with self._in_line(jobs) as line:
            try:
                self._take_turn(line, jobs, deadline)
            except CNIError as error:
                late = error
        with self._lock:
            # What another thread is still making counts as not made, whatever becomes of it.
            made = {id(job) for job in jobs if job.done}
        try:
            return [self._answer(job, deadline) if id(job) in made else late for job in jobs]
        finally:
            for job in jobs:
                self._undo(job)

    def _answer(self, job: Job, deadline: Deadline) -> Any:
        """The answer of *job*, with that of the edit that belongs to it; or the error of one."""
        if job.error is not None or job.then is None:
            return job.error or job.answer
        if job.early is not None and job.early.object == job.then.object:
            second, job.early = job.early.answer, None
            return [job.answer, second]
        self._undo(job)
        try:
            return [job.answer, self.edit(job.then, deadline)]
        except CNIError as error:
            return error

    def _take_turn(self, line: _Line, jobs: list[Job], deadline: Deadline) -> None:
        """Wait until who has the turn has made *jobs*, or make them in an own turn."""
        wanted = jobs[0].edit.object
        if not line.turn.acquire(timeout=deadline.remaining()):
            raise Unreachable(
                f"cannot change {wanted}: no time is left; the runtime repeats the call"
            )
        try:
            while not all(job.done for job in jobs):
                self._make(line, wanted, deadline)
        finally:
            line.turn.release()

    @contextmanager
    def _in_line(self, jobs: list[Job]) -> Iterator[_Line]:
        wanted = jobs[0].edit.object
        with self._lock:
            line = self._lines.setdefault(wanted, _Line())
            line.waiting += [each for each in jobs if not each.done]
            line.users += 1
        try:
            yield line
        finally:
            with self._lock:
                line.waiting = [each for each in line.waiting if each not in jobs]
                line.users -= 1
                if not line.users:
                    del self._lines[wanted]

    def _make(self, line: _Line, wanted: ObjectRef, deadline: Deadline) -> None:
        """Make edits that wait, in one write."""
        before, fresh, lost = self._remembered(wanted), False, 0
        # An object that the watch lacks is created: the server refuses it when the watch is late.
        if before is None and not self._lacks(wanted):
            before, fresh = self._fresh(wanted, deadline), True
        while True:
            began = time.monotonic()
            with self._lock:
                batch = alike(line.waiting, line.most)
            computed = compute(batch, before)
            if computed.patch is None and not computed.remove:
                if fresh:
                    break
                # What a watch says may be old: "it is there already" has to be true now.
                before, fresh = self._fresh(wanted, deadline), True
                continue
            try:
                with self._early(line, computed.batch, deadline):
                    self._write(wanted, before, computed, deadline)
                line.most = min(2 * line.most, MOST)
                break
            except ApiFailure as error:
                if error.refused:
                    if _is_one(line, computed.batch, error):
                        break
                    continue
                if not _is_lost_race(error):
                    raise
            lost += 1
            pause = _pause(lost, time.monotonic() - began)
            time.sleep(min(pause, deadline.remaining()))
            before, fresh = self._fresh(wanted, deadline), True
        self._end(line, computed.batch)

    def _end(self, line: _Line, batch: list[Job]) -> None:
        with self._lock:
            for job in batch:
                job.done = True
            line.waiting = [each for each in line.waiting if not each.done]

    @contextmanager
    def _early(self, line: _Line, batch: Sequence[Job], deadline: Deadline) -> Iterator[None]:
        """Create what the edits of *batch* create afterwards, while this block writes them."""
        asked = [job for job in batch if job.at_once and job.early is None]
        jobs = [(job, job.then) for job in asked if job.then is not None]
        made: dict[ObjectRef, Early] = {}
        try:
            with creating([then for _, then in jobs], self._writer, deadline) as made:
                yield
        finally:
            with self._lock:
                for job, then in jobs:
                    job.early = made.pop(then.object, None)
                left = [job for job, _ in jobs if job not in line.waiting]
            for job in left:  # their callers ran out of time
                self._undo(job)

    def _undo(self, job: Job) -> None:
        """Delete what was created early for an edit that has come to something else."""
        if job.early is not None:
            undo(job.early, self._writer)
            job.early = None

    def _write(
        self, wanted: ObjectRef, before: _Wire | None, computed: Computed, deadline: Deadline
    ) -> None:
        with self._lock:
            self._written.pop(wanted, None)
        if computed.remove:
            if before is not None:
                self._writer.delete(wanted, _version(before), deadline)
            return
        after = computed.after or {}
        if before is None:
            written = self._writer.create(wanted, after, deadline)
        else:
            version, part = _version(before), computed.batch[0].edit.subresource
            written = self._writer.patch(wanted, computed.patch, version, deadline, part)
        if "resourceVersion" in written:
            self._remember(wanted, {**after, "metadata": dict(written)})

    def _remember(self, wanted: ObjectRef, wire: _Wire) -> None:
        with self._lock:
            self._written[wanted] = wire
            if len(self._written) > _REMEMBERED:
                self._written.popitem(last=False)

    def _remembered(self, wanted: ObjectRef) -> _Wire | None:
        """What is known of the object without a request: the newer of watched and written."""
        watched = self._known(wanted)
        if watched is not None and not _version(watched):
            watched = None  # without its version, a write would not be refused
        with self._lock:
            written = self._written.get(wanted)
        if watched is None or written is None:
            return watched or written
        return watched if _is_newer(_version(watched), _version(written)) else written

    def _fresh(self, wanted: ObjectRef, deadline: Deadline) -> _Wire | None:
        try:
            return self._read(wanted, deadline)
        except NotFound as error:
            if not error.kind_known:
                raise
            return None


def _is_one(line: _Line, batch: list[Job], error: ApiFailure) -> bool:
    """Whether the refused *batch* is one edit, whose error it is; else fewer are written next.

    So a refusal is the error of the edit that causes it, and not of those that wait with it.
    """
    line.most = max(1, len(batch) // 2)
    if len(batch) == 1:
        batch[0].error = error
    return len(batch) == 1


def _is_lost_race(error: ApiFailure) -> bool:
    """Whether the object is not what it was: changed, created or deleted meanwhile."""
    return error.status == 409 or (isinstance(error, NotFound) and error.kind_known)


def _pause(lost: int, took: float) -> float:
    """How long to wait after so many lost races, of which the last took so many seconds.

    Those who write at the same time have to spread over as many writes as they are.
    """
    most = max(took, _FIRST_PAUSE) * 2 ** min(lost, 16)
    return random.uniform(0.0, min(most, _LONGEST_PAUSE))


def _version(wire: _Wire) -> str:
    return str(metadata_of(wire).get("resourceVersion", ""))


def _is_newer(version: str, other: str) -> bool:
    """Whether *version* is later; versions that are no numbers cannot be compared: then not.

    A wrong answer costs a refused write, nothing more.
    """
    if version.isdecimal() and other.isdecimal():
        return int(version) > int(other)
    return False
