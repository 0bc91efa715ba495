"""Queued writes to the API: what a container's answer does not depend on.

The daemon's queue has events, and status annotations that could not be written at once.  The writes
to one pod are made in order.  Each is repeated with growing pauses until it is written or the pod
is gone; one pod's failing writes do not delay another's.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
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
    pod = PodRef(*wire["pod"])
    if "annotations" in wire:
        return Annotate(pod, wire["annotations"])
    return PodEvent(pod, *wire["event"])


class _Pending:
    """One pod's writes, and when the first is tried (again)."""

    def __init__(self) -> None:
        self.writes: deque[Write] = deque()
        self.due = time.monotonic() + _DELAY
        self.wait = _FIRST_WAIT


class WriteQueue:
    """A thread that makes the writes that are put here.

    At most *most* are queued, and *budget* bytes of them; beyond that the oldest are dropped.
    *busy* says whether containers wait for their answers.  No exception ends the thread.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        most: int = 5000,
        budget: int = 8 * 1024 * 1024,
        on_problem: Callable[[CNIError], None] | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._client, self._on_problem, self._busy = client, on_problem, busy
        self._most, self._budget = most, budget
        self._by_pod: OrderedDict[PodRef, _Pending] = OrderedDict()
        self._changed = threading.Condition()
        self._draining = self._closing = False
        self._waiting = 0
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

    def holds(self, pod: PodRef) -> bool:
        """Whether writes to this pod are queued: a later one must come after them."""
        with self._changed:
            return pod in self._by_pod

    def annotated(self) -> list[PodRef]:
        """The pods whose annotations are queued: they would overwrite one that is written now."""
        with self._changed:
            return [
                pod
                for pod, pending in self._by_pod.items()
                if any(isinstance(each, Annotate) for each in pending.writes)
            ]

    def put(self, write: Write) -> None:
        """Queue a write; returns at once."""
        with self._changed:
            if write.size > _LARGEST:
                self.dropped += 1
                return
            while self._by_pod and not self._has_room(write):
                self._drop_oldest()
            self._by_pod.setdefault(write.pod, _Pending()).writes.append(write)
            self._waiting += 1
            self.bytes += write.size

    def _has_room(self, write: Write) -> bool:
        return self._waiting < self._most and self.bytes + write.size <= self._budget

    def _drop_oldest(self) -> None:
        self._remove_first(*next(iter(self._by_pod.items())))
        self.dropped += 1

    def _remove_first(self, pod: PodRef, pending: _Pending) -> None:
        write = pending.writes.popleft()
        self._waiting -= 1
        self.bytes -= write.size
        if not pending.writes:
            del self._by_pod[pod]

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
            self._write(*found)

    def _next(self) -> tuple[PodRef, _Pending, Write] | None:
        due = time.monotonic() - (_LONGEST_DELAY if self._has_to_wait() else 0.0)
        for pod, pending in self._by_pod.items():
            if pending.due <= due:
                return pod, pending, pending.writes[0]
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
        with self._changed:
            # It may have been dropped while it was being written.
            if self._by_pod.get(pod) is not pending or pending.writes[0] is not write:
                return
            if error is None or _is_final(error):
                self.dropped += error is not None
                pending.due, pending.wait = time.monotonic(), _FIRST_WAIT
                self._remove_first(pod, pending)
            elif _pod_is_gone(error):
                while pending.writes:
                    self._remove_first(pod, pending)
            else:
                pending.due = time.monotonic() + pending.wait * random.uniform(0.8, 1.0)
                pending.wait = min(pending.wait * 2, _LONGEST_WAIT)
            self._changed.notify_all()
        if error is not None:
            self._tell(error)

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


def _pod_is_gone(error: Exception) -> bool:
    """404, or 409 because a pod of the same name has another UID."""
    return isinstance(error, NotFound) or (isinstance(error, ApiFailure) and error.status == 409)
