"""Writes to the API that must arrive although nobody waits for them any more.

What a container's answer does not depend on (its status annotation, events) is handed to the
daemon's outbox.  Each pod's writes are made in order, repeated with growing pauses until they are
written or the pod is gone; a pod that is stuck does not hold up another.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from attrs import field, frozen

from multus.errors import CNIError
from multus.kube.deadline import Deadline
from multus.kube.failures import ApiFailure, NotFound

if TYPE_CHECKING:
    from multus.kube.client import KubeClient

_EACH = 5.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
#: The container's answer, which does not wait for a letter, shall not compete with it either; and
#: while many containers wait for theirs, letters wait too, so many seconds at most.
_LEISURE, _PATIENCE = 0.1, 5.0
#: Nobody is woken by a letter: whoever hands one over is about to answer a container.
_LOOK = 0.25


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
    """A thread that writes letters; at most *most* wait, beyond that the oldest is dropped.

    *busy* says whether there is more urgent work.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        most: int = 5000,
        on_problem: Callable[[CNIError], None] | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._client, self._most, self._on_problem = client, most, on_problem
        self._busy = busy
        self._piles: OrderedDict[Target, _Pile] = OrderedDict()
        self._changed = threading.Condition()
        self._closing = False
        self._waiting = 0
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self.dropped = 0

    def start(self) -> None:
        self._thread.start()

    def close(self, seconds: float = 5.0) -> None:
        """Try for *seconds* to write what waits, then stop."""
        ends = time.monotonic() + seconds
        with self._changed:
            self._changed.notify_all()
            while self._piles and time.monotonic() < ends and self._thread.is_alive():
                self._changed.wait(0.05)
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def __len__(self) -> int:
        return self._waiting

    def holds(self, target: Target) -> bool:
        """Whether something for this pod waits: what comes later must wait behind it."""
        with self._changed:
            return target in self._piles

    def put(self, letter: Letter) -> None:
        """Hand a letter over; returns at once."""
        with self._changed:
            if self._waiting >= self._most:
                self._drop_oldest()
            self._piles.setdefault(letter.target, _Pile()).letters.append(letter)
            self._waiting += 1

    def _drop_oldest(self) -> None:
        target, pile = next(iter(self._piles.items()))
        pile.letters.popleft()
        self._waiting -= 1
        self.dropped += 1
        if not pile.letters:
            del self._piles[target]

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
        due = time.monotonic() - (_PATIENCE if self._busy() else 0.0)
        for target, pile in self._piles.items():
            if pile.due <= due:
                return target, pile, pile.letters[0]
        return None

    def _pause(self) -> float:
        now = time.monotonic()
        due = min((pile.due for pile in self._piles.values()), default=now + _LOOK)
        return min(_LOOK, max(_LEISURE if self._busy() else 0.0, due - now))

    def _write(self, target: Target, pile: _Pile, letter: Letter) -> None:
        error: CNIError | None = None
        try:
            letter.write(self._client, Deadline.after(_EACH))
        except CNIError as caught:
            error = caught
        with self._changed:
            # It may have been dropped while it was being written.
            if self._piles.get(target) is not pile or pile.letters[0] is not letter:
                return
            if error is None:
                pile.letters.popleft()
                self._waiting -= 1
                pile.due, pile.wait = time.monotonic(), _FIRST_WAIT
                if not pile.letters:
                    del self._piles[target]
            elif _pod_is_gone(error):
                self._waiting -= len(pile.letters)
                del self._piles[target]
            else:
                pile.due = time.monotonic() + pile.wait
                pile.wait = min(pile.wait * 2, _LONGEST_WAIT)
            self._changed.notify_all()
        if error is not None and self._on_problem:
            self._on_problem(error)


def _pod_is_gone(error: CNIError) -> bool:
    """404, or 409 because a pod of the same name has another UID."""
    return isinstance(error, NotFound) or (isinstance(error, ApiFailure) and error.status == 409)
