"""Garbage: which records no valid attachment claims, and what each network's plugins have to keep.

GC is told which attachments the runtime still has.  It removes the records of all others, then has
the networks' own plugins remove what they have of none.

Source: CNI specification 1.1.0, section "GC".
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from multus.api.errors import CNIError, InvalidConfig, StateDamaged, TryAgainLater
from multus.api.jsontext import encode
from multus.api.names import is_identifier, unnameable
from multus.api.network import STEP, Delegate, Plugin
from multus.state import cached
from multus.state.liveness import lives
from multus.state.lock import collector_lock, container_lock

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.state.journal import Journal
    from multus.state.record import Record

#: A container's ID and the interface that the runtime asked for.
Key = tuple[str, str]


@frozen
class Sorted:
    """The ``dead`` records, those to be ``kept``, and ``errors`` for those that cannot be read."""

    dead: Sequence[Record] = ()
    kept: Sequence[Record] = ()
    errors: Sequence[CNIError] = field(factory=list)

    def __add__(self, other: Sorted) -> Sorted:
        return Sorted(
            [*self.dead, *other.dead], [*self.kept, *other.kept], [*self.errors, *other.errors]
        )


def valid_keys(conf: Conf) -> frozenset[Key]:
    """The attachments that the runtime still has; raises ``InvalidConfig`` without a list."""
    if conf.valid_attachments is None:
        raise InvalidConfig(
            "GC without 'cni.dev/valid-attachments' would remove everything",
            fix="give the list, which may be empty",
        )
    keys = frozenset((each.container_id, each.ifname) for each in conf.valid_attachments)
    for container_id, ifname in keys:
        if not is_identifier(container_id) or unnameable(ifname):
            raise InvalidConfig(
                f"'cni.dev/valid-attachments' holds container {container_id!r} with interface"
                f" {ifname!r}, which cannot be an attachment",
                fix="correct it",
            )
    return keys


def remove_incomplete(journal: Journal) -> list[CNIError]:
    """Remove intents that were never completed; returns errors.

    Those that another process is writing now are left alone.
    """
    errors = []
    for container_id, ifname in journal.incomplete():
        try:
            with suppress(TryAgainLater), container_lock(journal.folder, container_id, 0.0):
                journal.remove_incomplete(container_id, ifname)
        except CNIError as error:
            errors.append(error)
    return errors


@frozen
class Before:
    """The records when GC began, before it waited for the ADDs under way.

    What was attached meanwhile is not in GC's list of valid attachments, and is kept.  *others* are
    the containers of which the Go Multus left something.
    """

    keys: frozenset[Key]
    began: float
    others: frozenset[str] = frozenset()

    def spares(self, record: Record, now: float) -> bool:
        """Whether *record* was made since.

        One whose key existed before may be of a container that was added once more: its time is
        between *began* and *now*.  A time after *now* comes from a clock that was set back since;
        such a record is not spared, since it would be for ever.
        """
        known = record.key in self.keys or record.key[0] in self.others
        return not known or self.began < record.started <= now


@contextmanager
def begin(journal: Journal, patience: float) -> Iterator[Before]:
    """Keep ADDs waiting while garbage is collected; gives what there was before.

    Raises ``TryAgainLater`` when the ADDs under way do not end within *patience* seconds,
    ``StateDamaged`` and ``IOFailure``.
    """
    journal.prepare()
    theirs = frozenset((*journal.others(), *cached.containers(journal.folder)))
    before = Before(journal.keys(), time.time(), theirs)
    with collector_lock(journal.folder, patience):
        yield before


def sort(
    records: Iterable[Record | CNIError], network: str, valid: frozenset[Key], before: Before
) -> Sorted:
    """The dead records are those of this *network*, not *valid*, that existed *before* GC began.

    A record that is too damaged to say its network counts as one of this network.
    """
    dead, kept, errors = [], [], []
    now = time.time()
    for each in records:
        if isinstance(each, CNIError):
            errors.append(each)
        elif (
            each.network in (network, "") and each.key not in valid and not before.spares(each, now)
        ):
            dead.append(each)
        else:
            kept.append(each)
    return Sorted(dead, kept, errors)


def sort_others(
    records: Iterable[Record], offered: Iterable[Delegate], valid: frozenset[Key], before: Before
) -> Sorted:
    """The same for records of the Go Multus, which do not say the name of Multus' own network.

    A dead one has a default network that is *offered* here, or its namespace is gone.  Any other
    may be a living container's of another network.
    """
    dead: list[Record] = []
    kept: list[Record] = []
    now = time.time()
    names = {each.name for each in offered}
    for each in records:
        primary = next((p.delegate.name for p in each.planned.values() if p.delegate.primary), "")
        ours = primary in names or not lives(each)
        gone = ours and each.key not in valid and not before.spares(each, now)
        (dead if gone else kept).append(each)
    return Sorted(dead, kept)


def still_recorded(journal: Journal, dead: Iterable[Record]) -> list[Record]:
    """Those of the *dead* records that still exist; one that cannot be read counts as it was.

    One of the Go Multus exists as ours, or as it was.
    """
    left = []
    for each in dead:
        try:
            record = journal.find(*each.key)
        except CNIError:
            record = each
        if record is None and os.path.lexists(each.path):
            record = each
        if record is not None:
            left.append(record)
    return left


def incomplete(kept: Sequence[Record], valid: frozenset[Key]) -> CNIError | None:
    """Why the networks' own GC has to be left out: some valid attachment's networks are unknown.

    A plugin frees whatever its list does not contain.  With an incomplete list it would free the
    addresses of containers that live.
    """
    known = {record.key for record in kept if record.complete}
    unknown = sorted(key for key in valid if key not in known)
    unknown += [record.key for record in kept if not record.complete]
    if not unknown:
        return None
    container_id, ifname = unknown[0]
    return StateDamaged(
        f"container {container_id}, interface {ifname}, is valid, but its record does not"
        " say what it has: the networks' own garbage collection is left out, since it"
        " could free addresses of this container",
        f"{len(unknown)} such" if len(unknown) > 1 else "",
        fix="delete and add the container",
    )


def networks(
    offered: Iterable[Delegate], network: str, kept: Sequence[Record], dead: Sequence[Record]
) -> list[tuple[Delegate, tuple[Mapping[str, str], ...]]]:
    """The networks whose plugins are asked for GC, each with its valid attachments.

    They are those that the configuration of Multus' own *network* offers, and those of its records,
    also of the *dead* ones.  Several configurations, even of several Multus networks, may share a
    network's name; each gets all attachments of that name.
    """
    valid: dict[str, list[Mapping[str, str]]] = {}
    for record in kept:
        for index in record.left():
            delegate = record.planned[index].delegate
            entry = {"containerID": record.request.container_id, "ifname": delegate.ifname}
            valid.setdefault(delegate.name, []).append(entry)
    named = [*offered, *_recorded([*kept, *dead], network)]
    different = {_identity(each): each for each in map(_without_container, named)}
    return [(each, tuple(valid.get(each.name, ()))) for each in different.values()]


def _recorded(records: Iterable[Record], network: str) -> list[Delegate]:
    """The delegates that records of *network* name, without steps that leave nothing."""
    planned = [
        each
        for record in records
        if record.network in (network, "")
        for each in record.planned.values()
    ]
    return [
        evolve(
            each.delegate,
            plugins=tuple(step.plugin for step in each.steps if not step.leaves_nothing),
        )
        for each in planned
    ]


def _without_container(delegate: Delegate) -> Delegate:
    """The network alone, without what one container requested of it."""
    plugins = tuple(
        Plugin({k: v for k, v in each.config.items() if k != "runtimeConfig"}, each.invoker)
        for each in delegate.plugins
        if each.type != STEP  # the engine's own leaves nothing
    )
    return evolve(delegate, plugins=plugins, runtime_config={}, args={}, ifname="", options={})


def _identity(delegate: Delegate) -> tuple[str, str, bytes]:
    """What is equal for two delegates of one network, whether offered or recorded."""
    ignored = ("capabilities", "cniVersion", "name")
    configs = [
        {key: value for key, value in plugin.config.items() if key not in ignored}
        for plugin in delegate.plugins
    ]
    return delegate.name, delegate.provenance.value, encode(configs)
