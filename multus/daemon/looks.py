"""Which running pods the daemon looks at, and when.

A look compares what a pod has with what its annotation asks for, if the daemon follows pods, and
its status with what is attached (``Engine.change`` and ``Engine.review``).  A worker carries it
out, behind the calls.  The API process sees the pods, so it decides what is looked at:

* every pod once after a start;
* a pod whose annotations changed.  Without ``podChanges`` that is one that lost an annotation, or
  has another value: a pod's first status is no reason;
* again after a pause, a pod that could not be changed, or whose look failed;
* every pod now and then, whatever else was not noticed.

Each pod has a pause of its own, which grows from a second to five minutes while its looks fail, or
while another program and this one overwrite each other's status.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen

from multus.daemon.looked import MOST_TOLD, Looked
from multus.daemon.podrecords import PodRecords, Recorded

#: How long after a change a pod is looked at, so that several changes are one, in seconds.
SETTLED = 0.5
#: The least time between two looks at a pod: a program may change annotations all the time.
APART = 1.0
#: Pauses of a pod that could not be changed, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
#: About how long a pod is not looked at when nothing is noticed, in seconds.
SELDOM = 600.0
#: How long a pod without a record is waited for: its ADD may be under way.
_ADDED_WITHIN = 60.0
#: The time between two looks for its record.
_RECORDED = 2.0
#: How many looks may be under way, and the time between two of them, in seconds.
_MOST, _EACH = 8, 0.05
#: A look without an answer counts as failed after this time, in seconds.
_LOST = 180.0

Pod = tuple[str, str]


@frozen
class Look:
    """One container to look at; *told* are the errors that were told before."""

    record: Recorded
    pod: str
    told: tuple[str, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        return {
            "cniDir": self.record.cni_dir,
            "container": self.record.container_id,
            "ifname": self.record.ifname,
            "pod": self.pod,
            "told": list(self.told),
        }


@define
class _State:
    """What is known of one pod.

    ``due`` is when it is looked at, None for not; ``looked_at`` is when it was.  ``not_before`` and
    ``pause`` hold the looks apart that did not end well, ``wrote`` says that the last one of these
    wrote the status.  ``under_way`` are the containers of which no answer has come yet.
    """

    seen: Mapping[str, int]
    due: float | None = None
    since: float = 0.0
    looked_at: float = 0.0
    not_before: float = 0.0
    pause: float = FIRST_PAUSE
    told: tuple[str, ...] = ()
    wrote: bool = False
    under_way: dict[str, float] = field(factory=dict)


class Looks:
    """Decides about looks; for the API process's main thread, except for ``noticed``.

    *pod* gives a pod's ``metadata``, None when it is unknown.  With *follows*, its networks follow
    its annotation.
    """

    def __init__(
        self,
        records: PodRecords,
        pod: Callable[[str, str], Mapping[str, Any] | None],
        *,
        follows: bool,
    ) -> None:
        self._records = records
        self._pod = pod
        self._follows = follows
        self._noticed: deque[Pod] = deque()
        self._states: dict[Pod, _State] = {}
        self._of: dict[str, Pod] = {}
        self._next = 0.0
        self._began: float | None = None

    def noticed(self, namespace: str, name: str) -> None:
        """A pod is new, changed or deleted; called by any thread."""
        self._noticed.append((namespace, name))

    def ended(self, container_id: str, looked: Looked, now: float) -> None:
        """A look has ended: decide whether and when the next one comes."""
        key = self._of.pop(container_id, None)
        state = self._states.get(key) if key is not None else None
        if key is None or state is None:
            return
        state.under_way.pop(container_id, None)
        if looked.outcome != "gone" and state.due is None:
            state.due = now + _seldom()
        if looked.outcome in ("same", "changed"):
            state.told = ()
            if now > state.not_before + state.pause:
                state.pause = FIRST_PAUSE
            return
        if looked.outcome == "gone":
            return
        state.told = tuple(dict.fromkeys((*looked.told, *state.told)))[:MOST_TOLD]
        state.wrote = looked.wrote
        state.not_before = now + state.pause * random.uniform(0.8, 1.2)
        state.pause = min(2 * state.pause, LONGEST_PAUSE)
        if looked.outcome != "righted":
            state.due = min(state.due or state.not_before, state.not_before)

    def due(self, now: float) -> list[Look]:
        """The containers to look at now."""
        while self._noticed:
            self._notice(self._noticed.popleft(), now)
        self._give_up_lost(now)
        found: list[Look] = []
        if now < self._next or len(self._of) >= _MOST:
            return found
        waiting = [(state.due, key) for key, state in self._states.items() if state.due is not None]
        for due, key in sorted(waiting):
            if due > now:
                break
            found = self._looks_at(key, now)
            if found:
                self._next = now + _EACH
                break
        return found

    def _notice(self, key: Pod, now: float) -> None:
        metadata = self._pod(*key)
        if metadata is None:
            # Deleted, or unknown until the next list: then it is noticed again.
            self._states.pop(key, None)
            return
        annotations = metadata.get("annotations") or {}
        seen = {name: hash(value) for name, value in annotations.items()}
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = _State(seen)
            asked = self._follows or bool(self._records.of(*key))
        else:
            before, state.seen = state.seen, seen
            lost = any(seen.get(name) != value for name, value in before.items())
            asked = lost or (self._follows and seen != before)
        if metadata.get("deletionTimestamp"):
            state.due = None  # its DEL is about to come
        elif asked:
            state.since = now
            soon = max(now + SETTLED, state.looked_at + APART, self._held_back(state))
            state.due = soon if state.due is None else min(state.due, soon)
        elif state.due is None and not state.under_way:
            state.due = now + _seldom()

    def _held_back(self, state: _State) -> float:
        """A pod whose status is overwritten again and again waits; one that fails does not.

        A person who has corrected the annotation must not wait for the pause of the last failure.
        """
        return state.not_before if state.wrote else 0.0

    def _looks_at(self, key: Pod, now: float) -> list[Look]:
        state = self._states[key]
        if state.under_way:
            state.due = now + SETTLED
            return []
        records = self._records.of(*key)
        if not records:
            waits = self._follows and now < state.since + _ADDED_WITHIN
            state.due = now + _RECORDED if waits else None
            return []
        state.due, state.looked_at = None, now
        for each in records:
            state.under_way[each.container_id] = now
            self._of[each.container_id] = key
        return [Look(each, "/".join(key), state.told) for each in records]

    def _give_up_lost(self, now: float) -> None:
        lost = [
            container_id
            for container_id, key in self._of.items()
            if key not in self._states
            or now > self._states[key].under_way.get(container_id, now) + _LOST
        ]
        for container_id in lost:
            self.ended(container_id, Looked("failed"), now)


def _seldom() -> float:
    return SELDOM * random.uniform(0.8, 1.2)
