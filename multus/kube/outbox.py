"""Writes to the API that must arrive although nobody waits for them any more.

What a container's answer does not depend on (its status annotation, events) is handed to the
daemon's outbox.  Each pod's writes are made in order, repeated with growing pauses until they are
written or the pod is gone; a pod that is stuck does not hold up another.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from attrs import field, frozen

from multus.api.errors import CNIError
from multus.kube.deadline import Deadline
from multus.kube.failures import ApiFailure, NotFound

if TYPE_CHECKING:
    from multus.kube.client import KubeClient

_EACH = 5.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
#: A write waits for so many seconds, so as not to compete with the container's answer.  While many
#: containers wait for theirs, it waits for longer: at most for the second number.
_LEISURE, _PATIENCE = 0.1, 5.0
#: How often the thread looks for writes: whoever hands one over is about to answer a container, and
#: does not wake it.
_LOOK = 0.25
#: How long the thread may take to end after it was told to.
_ENDING = 0.2
#: The API server refuses longer annotations.
_LARGEST = 512 * 1024
#: Statuses by which the server refuses a write for good: malformed, too large, invalid.
_FOR_GOOD = frozenset({400, 413, 422})


@frozen
class Target:
    """The pod that is written to; ``uid`` keeps a write from its successor."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@frozen
class Annotate:
    """Set annotations of a pod."""

    target: Target
    annotations: Mapping[str, str | None] = field(repr=False)

    @property
    def size(self) -> int:
        """About how many bytes it takes while it waits."""
        return sum(len(key) + len(value or "") for key, value in self.annotations.items())

    def write(self, client: KubeClient, deadline: Deadline) -> None:
        target = self.target
        client.annotate_pod(target.namespace, target.name, target.uid, self.annotations, deadline)


@frozen
class Event:
    """An event on a pod; ``kind`` is Normal or Warning."""

    target: Target
    kind: str
    reason: str
    message: str
    node: str

    @property
    def size(self) -> int:
        """About how many bytes it takes while it waits."""
        return len(self.message)

    def write(self, client: KubeClient, deadline: Deadline) -> None:
        target = self.target
        client.create_event(
            target.namespace,
            target.name,
            target.uid,
            kind=self.kind,
            reason=self.reason,
            message=self.message,
            node=self.node,
            deadline=deadline,
        )


Letter = Annotate | Event


def to_wire(letter: Letter) -> dict[str, Any]:
    """A letter as JSON, for another process's outbox."""
    target = letter.target
    wire: dict[str, Any] = {"pod": [target.namespace, target.name, target.uid]}
    if isinstance(letter, Annotate):
        return {**wire, "annotations": dict(letter.annotations)}
    return {**wire, "event": [letter.kind, letter.reason, letter.message, letter.node]}


def from_wire(wire: Mapping[str, Any]) -> Letter:
    """The letter that ``to_wire`` wrote."""
    target = Target(*wire["pod"])
    if "annotations" in wire:
        return Annotate(target, wire["annotations"])
    return Event(target, *wire["event"])


@runtime_checkable
class Postbox(Protocol):
    """What takes letters over, so that whoever has them need not wait until they are written."""

    node: str

    def deliver(self, letters: Sequence[Letter], seconds: float) -> None:
        """Have one pod's *letters* written, in order; annotations within *seconds* if possible.

        Raises why an annotation is not written yet; it is written later.
        """


class _Pile:
    """One pod's letters, and when the first is tried (again)."""

    def __init__(self) -> None:
        self.letters: deque[Letter] = deque()
        self.due = time.monotonic() + _LEISURE
        self.wait = _FIRST_WAIT


class Outbox:
    """A thread that makes the writes that are put here.

    At most *most* wait, and *budget* bytes of them; beyond that the oldest are dropped.  *busy*
    says whether there is more urgent work.  No exception ends the thread.
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
        self._piles: OrderedDict[Target, _Pile] = OrderedDict()
        self._changed = threading.Condition()
        self._draining = self._closing = False
        self._waiting = 0
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self.dropped = 0
        self.bytes = 0

    def start(self) -> None:
        self._thread.start()

    def close(self, seconds: float = 5.0) -> None:
        """Try for *seconds* to write what waits, busy or not, then stop: it takes no longer.

        A write that is under way then ends when its client is closed, or after a few seconds.
        """
        ends = time.monotonic() + seconds
        with self._changed:
            self._draining = True
            self._changed.notify_all()
            while self._piles and time.monotonic() < ends and self._thread.is_alive():
                self._changed.wait(0.05)
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(max(_ENDING, ends - time.monotonic()))

    def __len__(self) -> int:
        return self._waiting

    def holds(self, target: Target) -> bool:
        """Whether something for this pod waits: what comes later must wait behind it."""
        with self._changed:
            return target in self._piles

    def annotated(self) -> list[Target]:
        """The pods whose annotations wait: one that is written now would be overwritten."""
        with self._changed:
            return [
                target
                for target, pile in self._piles.items()
                if any(isinstance(each, Annotate) for each in pile.letters)
            ]

    def put(self, letter: Letter) -> None:
        """Hand a write over; returns at once."""
        with self._changed:
            if letter.size > _LARGEST:
                self.dropped += 1
                return
            while self._piles and not self._has_room(letter):
                self._drop_oldest()
            self._piles.setdefault(letter.target, _Pile()).letters.append(letter)
            self._waiting += 1
            self.bytes += letter.size

    def _has_room(self, letter: Letter) -> bool:
        return self._waiting < self._most and self.bytes + letter.size <= self._budget

    def _drop_oldest(self) -> None:
        self._remove_first(*next(iter(self._piles.items())))
        self.dropped += 1

    def _remove_first(self, target: Target, pile: _Pile) -> None:
        letter = pile.letters.popleft()
        self._waiting -= 1
        self.bytes -= letter.size
        if not pile.letters:
            del self._piles[target]

    def _run(self) -> None:
        while True:
            try:
                self._work()
                return
            except Exception as error:  # noqa: BLE001  the thread goes on, whatever comes
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

    def _next(self) -> tuple[Target, _Pile, Letter] | None:
        due = time.monotonic() - (_PATIENCE if self._has_to_wait() else 0.0)
        for target, pile in self._piles.items():
            if pile.due <= due:
                return target, pile, pile.letters[0]
        return None

    def _pause(self) -> float:
        now = time.monotonic()
        due = min((pile.due for pile in self._piles.values()), default=now + _LOOK)
        return min(_LOOK, max(_LEISURE if self._has_to_wait() else 0.0, due - now))

    def _has_to_wait(self) -> bool:
        return not self._draining and self._busy()

    def _write(self, target: Target, pile: _Pile, letter: Letter) -> None:
        error: Exception | None = None
        try:
            letter.write(self._client, Deadline.after(_EACH))
        except Exception as caught:  # noqa: BLE001  the other writes go on
            error = caught
        with self._changed:
            # It may have been dropped while it was being written.
            if self._piles.get(target) is not pile or pile.letters[0] is not letter:
                return
            if error is None or _is_final(error):
                self.dropped += error is not None
                pile.due, pile.wait = time.monotonic(), _FIRST_WAIT
                self._remove_first(target, pile)
            elif _pod_is_gone(error):
                while pile.letters:
                    self._remove_first(target, pile)
            else:
                pile.due = time.monotonic() + pile.wait * random.uniform(0.8, 1.0)
                pile.wait = min(pile.wait * 2, _LONGEST_WAIT)
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
        # A log that cannot be written is no reason to stop writing to the API server.
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
