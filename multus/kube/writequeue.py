"""Queued writes to the API: what a container's answer does not depend on.

The daemon's queue has events, and status annotations that could not be written at once.  A pod's
annotations are written in order, and its events after them.  Each write is repeated with growing
pauses until it is made or the pod is gone; an event that the account may not create is dropped.
One pod's failing writes do not delay another's.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from multus.api.errors import CNIError
from multus.api.kubernetes._deadline import Deadline
from multus.api.kubernetes._failures import ApiFailure, NotFound
from multus.api.kubernetes._interface import Annotate, PodEvent, PodRef

if TYPE_CHECKING:
    from multus.api.kubernetes._interface import Write
    from multus.kube.client import KubeClient

_EACH = 5.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
#: A write waits for so many seconds, so that it does not compete with the container's answer.
#: While containers wait for their answers, it waits for longer: at most for the second number.
_DELAY, _LONGEST_DELAY = 0.1, 5.0
#: How often the thread looks for writes.  :meth:`WriteQueue.put` does not wake it: its caller is
#: about to answer a container.
_LOOK = 0.25
#: How long the thread may take to end after it was told to.
_ENDING = 0.2
#: The API server refuses longer annotations.
_LARGEST = 512 * 1024
#: Statuses by which the server refuses a write for good: malformed, too large, invalid.
_FOR_GOOD = frozenset({400, 413, 422})


def to_wire(write: Write) -> dict[str, Any]:
    """A write as JSON, for the queue of another process."""
    pod = write.pod
    wire: dict[str, Any] = {"pod": [pod.namespace, pod.name, pod.uid]}
    if isinstance(write, Annotate):
        return {**wire, "annotations": dict(write.annotations)}
    return {**wire, "event": [write.kind, write.reason, write.message]}


def from_wire(wire: Mapping[str, Any]) -> Write:
    """The write that ``to_wire`` made JSON of."""
    if "annotations" in wire:
        return annotation_from_wire(wire)
    return PodEvent(PodRef(*wire["pod"]), *wire["event"])


def annotation_from_wire(wire: Mapping[str, Any]) -> Annotate:
    """The same for annotations alone."""
    return Annotate(PodRef(*wire["pod"]), wire["annotations"])


class _Pending:
    """One pod's writes, and when the next is tried (again): annotations come before events."""

    def __init__(self) -> None:
        self.annotations: deque[Annotate] = deque()
        self.events: deque[PodEvent] = deque()
        self.begin()

    def begin(self) -> None:
        """The next write is a new one: it does not inherit the pauses of another."""
        self.due = time.monotonic() + _DELAY
        self.wait = _FIRST_WAIT

    def put(self, write: Write) -> None:
        if isinstance(write, Annotate):
            if not self.annotations:
                self.begin()
            self.annotations.append(write)
        else:
            self.events.append(write)

    @property
    def next(self) -> Write:
        return self.annotations[0] if self.annotations else self.events[0]

    def remove(self, write: Write) -> bool:
        """Remove a write; False when it is not here any more."""
        writes: deque[Any] = self.annotations if isinstance(write, Annotate) else self.events
        kept = [each for each in writes if each is not write]
        removed = len(kept) < len(writes)
        writes.clear()
        writes.extend(kept)
        return removed

    def __iter__(self) -> Iterator[Write]:
        return iter((*self.annotations, *self.events))


class WriteQueue:
    """A thread that makes the writes that are put here.

    At most *most* are queued, and *budget* bytes of them; beyond that the oldest are dropped.
    *busy* says whether containers wait for their answers; *gone* whether a pod does not exist, for
    one whose write the server refused.  No exception ends the thread.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        most: int = 5000,
        budget: int = 8 * 1024 * 1024,
        on_problem: Callable[[CNIError], None] | None = None,
        busy: Callable[[], bool] = lambda: False,
        gone: Callable[[PodRef], bool] = lambda _: False,
    ) -> None:
        self._client, self._on_problem, self._busy, self._gone = client, on_problem, busy, gone
        self._most, self._budget = most, budget
        self._by_pod: OrderedDict[PodRef, _Pending] = OrderedDict()
        self._changed = threading.Condition()
        self._draining = self._closing = False
        self._waiting = 0
        self._under_way: Write | None = None
        #: Namespaces for which it was said that no events can be created.
        self._forbidden: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="queued writes", daemon=True)
        self.dropped = 0
        self.bytes = 0

    def start(self) -> None:
        self._thread.start()

    def close(self, seconds: float = 5.0) -> None:
        """Try for *seconds* to write what is queued, busy or not, then stop.

        A write that is under way then ends when its client is closed, or after a few seconds.
        """
        ends = time.monotonic() + seconds
        with self._changed:
            self._draining = True
            self._changed.notify_all()
            while self._by_pod and time.monotonic() < ends and self._thread.is_alive():
                self._changed.wait(0.05)
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(max(_ENDING, ends - time.monotonic()))

    def __len__(self) -> int:
        return self._waiting

    def annotated(self) -> list[PodRef]:
        """The pods whose annotations are queued: they would overwrite one that is written now."""
        with self._changed:
            return [pod for pod, pending in self._by_pod.items() if pending.annotations]

    def make_way(self, write: Annotate, seconds: float) -> bool:
        """Drop what is queued for the pod and *write* replaces, so that it can be written at once.

        Waits at most *seconds* for such a write that is under way; False when that goes on, so that
        *write* has to be queued behind it.
        """
        ends = time.monotonic() + seconds
        with self._changed:
            while True:
                replaced = self._replaced_by(write)
                for pod, pending, each in replaced:
                    if each is not self._under_way:
                        self._replace(pod, pending, each, write.annotations.keys())
                if not any(each is self._under_way for _, _, each in replaced):
                    return True
                left = ends - time.monotonic()
                if left <= 0 or self._closing:
                    return False
                self._changed.wait(left)

    def _replaced_by(self, write: Annotate) -> list[tuple[PodRef, _Pending, Annotate]]:
        """What sets the same annotations of the pod, and of earlier ones of its name."""
        return [
            (pod, pending, each)
            for pod, pending in self._by_pod.items()
            if str(pod) == str(write.pod)
            for each in pending.annotations
            if each.annotations.keys() & write.annotations.keys()
        ]

    def _replace(
        self, pod: PodRef, pending: _Pending, write: Annotate, keys: Collection[str]
    ) -> None:
        """Leave of *write* what sets other annotations than *keys*."""
        rest = {key: each for key, each in write.annotations.items() if key not in keys}
        if not rest:
            self._remove(pod, pending, write)
            return
        kept = Annotate(pod, rest)
        pending.annotations[pending.annotations.index(write)] = kept
        self.bytes -= write.size - kept.size

    def put(self, write: Write) -> None:
        """Queue a write; returns at once."""
        with self._changed:
            if write.size > _LARGEST:
                self.dropped += 1
                return
            while self._by_pod and not self._has_room(write):
                self._drop_oldest()
            self._by_pod.setdefault(write.pod, _Pending()).put(write)
            self._waiting += 1
            self.bytes += write.size

    def _has_room(self, write: Write) -> bool:
        return self._waiting < self._most and self.bytes + write.size <= self._budget

    def _drop_oldest(self) -> None:
        pod, pending = next(iter(self._by_pod.items()))
        self._remove(pod, pending, pending.events[0] if pending.events else pending.next)
        self.dropped += 1

    def _remove(self, pod: PodRef, pending: _Pending, write: Write) -> bool:
        """Remove a write; False when it was dropped before."""
        if self._by_pod.get(pod) is not pending or not pending.remove(write):
            return False
        self._waiting -= 1
        self.bytes -= write.size
        if not (pending.annotations or pending.events):
            del self._by_pod[pod]
        return True

    def _run(self) -> None:
        while True:
            try:
                self._work()
                return
            except Exception as error:  # noqa: BLE001  no exception may end the thread
                self._tell(error)
                with self._changed:
                    if not self._closing:
                        self._changed.wait(_FIRST_WAIT)

    def _work(self) -> None:
        while True:
            with self._changed:
                found = self._next()
                while found is None and not self._closing:
                    self._changed.wait(self._pause())
                    found = self._next()
                if found is None or self._closing:
                    return
                self._under_way = found[2]
            try:
                self._write(*found)
            finally:
                with self._changed:
                    self._under_way = None
                    self._changed.notify_all()

    def _next(self) -> tuple[PodRef, _Pending, Write] | None:
        due = time.monotonic() - (_LONGEST_DELAY if self._has_to_wait() else 0.0)
        for pod, pending in self._by_pod.items():
            if pending.due <= due:
                return pod, pending, pending.next
        return None

    def _pause(self) -> float:
        now = time.monotonic()
        due = min((pending.due for pending in self._by_pod.values()), default=now + _LOOK)
        return min(_LOOK, max(_DELAY if self._has_to_wait() else 0.0, due - now))

    def _has_to_wait(self) -> bool:
        return not self._draining and self._busy()

    def _write(self, pod: PodRef, pending: _Pending, write: Write) -> None:
        error: Exception | None = None
        try:
            self._client.carry_out(write, Deadline.after(_EACH))
        except Exception as caught:  # noqa: BLE001  the other writes go on
            error = caught
        forbidden = error is not None and _is_forbidden_event(write, error)
        final = error is None or forbidden or _is_final(error)
        gone = error is not None and not final and self._is_for_a_pod_that_is_gone(pod, error)
        with self._changed:
            if gone:
                for each in pending:
                    self._remove(pod, pending, each)
            elif final and self._remove(pod, pending, write):
                self.dropped += error is not None
                pending.due, pending.wait = time.monotonic(), _FIRST_WAIT
            elif not final and next(iter(pending), None) is write:
                pending.due = time.monotonic() + pending.wait * random.uniform(0.8, 1.0)
                pending.wait = min(pending.wait * 2, _LONGEST_WAIT)
        if error is not None and not (forbidden and pod.namespace in self._forbidden):
            self._tell(error)
        self._note_events(write, forbidden=forbidden)

    def _is_for_a_pod_that_is_gone(self, pod: PodRef, error: Exception) -> bool:
        """404, 409 because a pod of the same name has another UID, or *gone* says so.

        The server may refuse a write without a look whether the pod exists.
        """
        if not isinstance(error, ApiFailure):
            return False
        return isinstance(error, NotFound) or error.status == 409 or self._gone(pod)

    def _note_events(self, write: Write, *, forbidden: bool) -> None:
        """That events are forbidden is said once, until one is created again."""
        if forbidden:
            self._forbidden.add(write.pod.namespace)
        elif not isinstance(write, Annotate):
            self._forbidden.discard(write.pod.namespace)

    def _tell(self, error: Exception) -> None:
        if self._on_problem is None:
            return
        if not isinstance(error, CNIError):
            error = CNIError(
                f"internal error: {type(error).__name__} in a write to the API server: {error}; the"
                " write is dropped"
            )
        # An error of the log must not stop the writes.
        with suppress(Exception):
            self._on_problem(error)


def _is_final(error: Exception) -> bool:
    """Whether the same write would fail in the same way again."""
    if not isinstance(error, CNIError):
        return True
    return isinstance(error, ApiFailure) and error.status in _FOR_GOOD


def _is_forbidden_event(write: Write, error: Exception) -> bool:
    """Whether the account may not create events: it would not succeed before the rights change."""
    forbidden = isinstance(error, ApiFailure) and error.status == 403
    return forbidden and not isinstance(write, Annotate)
