"""Garbage: which records nobody claims, and what each network's plugins may keep.

Source: CNI specification 1.1.0, section "GC".
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from attrs import evolve, field, frozen

from multus.api.errors import CNIError, InvalidConfig, StateDamaged, TryAgainLater
from multus.api.jsontext import encode
from multus.api.names import is_identifier, unnameable
from multus.api.network import Delegate, Plugin
from multus.engine import invoke, order, resolve
from multus.state.lock import container_lock

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.engine.invoke import Call
    from multus.state.journal import Journal
    from multus.state.record import Record

#: A container's ID and the interface that the runtime asked for.
Key = tuple[str, str]


@frozen
class Sorted:
    """The records: ``dead`` ones, those to be ``kept``, and the ``errors`` of unreadable ones."""

    dead: Sequence[Record] = ()
    kept: Sequence[Record] = ()
    errors: Sequence[CNIError] = field(factory=list)


def valid_keys(conf: Conf) -> frozenset[Key]:
    """The attachments that the runtime still has; raises ``InvalidConfig`` without a list."""
    if conf.valid_attachments is None:
        raise InvalidConfig(
            "GC without 'cni.dev/valid-attachments' would remove everything: give the list, which"
            " may be empty"
        )
    keys = frozenset((each.container_id, each.ifname) for each in conf.valid_attachments)
    for container_id, ifname in keys:
        if not is_identifier(container_id) or unnameable(ifname):
            raise InvalidConfig(
                f"'cni.dev/valid-attachments' holds container {container_id!r} with interface"
                f" {ifname!r}, which can be no attachment: correct it"
            )
    return keys


def tidy(journal: Journal) -> list[CNIError]:
    """Remove intents that were never whole, but for those being written now; returns errors."""
    errors = []
    for container_id, ifname in journal.unborn():
        try:
            with suppress(TryAgainLater), container_lock(journal.folder, container_id, 0.0):
                journal.tidy(container_id, ifname)
        except CNIError as error:
            errors.append(error)
    return errors


class Before(NamedTuple):
    """What was there when GC began, before it waited for the ADDs under way.

    An ADD that came meanwhile is in no list of valid attachments, and is to be spared.
    """

    keys: frozenset[Key]
    began: float

    def spares(self, record: Record, now: float) -> bool:
        """Whether *record* was made since.

        One that was there is taken to be newer only when the clock says that it was made between
        *began* and *now*: that is a container added once more.  Anything later than *now* was
        written under another clock, and would be spared for ever.
        """
        return record.key not in self.keys or self.began < record.started <= now


def sort(
    records: Iterable[Record | CNIError], network: str, valid: frozenset[Key], before: Before
) -> Sorted:
    """Tell the dead from the rest: of this *network*, not *valid*, and there *before* GC began.

    A record so damaged that it does not say its network is taken to be of this one.
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


def still_recorded(journal: Journal, dead: Iterable[Record]) -> list[Record]:
    """What is still recorded of *dead* records; one that cannot be read counts as it was."""
    left = []
    for each in dead:
        try:
            record = journal.find(*each.key)
        except CNIError:
            record = each
        if record is not None:
            left.append(record)
    return left


def collect(
    call: Call, valid: frozenset[Key], kept: Sequence[Record], dead: Sequence[Record]
) -> list[CNIError]:
    """Have the networks' plugins remove what is not *kept*; returns what went wrong.

    Asked are the networks that the configuration offers and those of its records, also of the
    *dead* ones.
    """
    try:
        _require_known(kept, valid)
    except StateDamaged as error:
        return [error]
    named = [*_offered(call), *_recorded([*kept, *dead], call.conf.name)]
    return invoke.collect_garbage(networks(named, kept), call)


def _require_known(kept: Sequence[Record], valid: frozenset[Key]) -> None:
    """Raise ``StateDamaged`` when it is not known what a valid attachment consists of.

    A plugin frees whatever its list does not hold, so an incomplete list would take addresses from
    containers that live.
    """
    known = {record.key for record in kept if record.complete}
    unknown = sorted(key for key in valid if key not in known)
    unknown += [record.key for record in kept if not record.complete]
    if unknown:
        container_id, ifname = unknown[0]
        raise StateDamaged(
            f"container {container_id}, interface {ifname}, is valid, but its record does not say"
            " what it has: the networks' own garbage collection is left out, since it could take"
            " addresses from it: delete and add this container",
            f"{len(unknown)} such" if len(unknown) > 1 else "",
        )


def networks(
    delegates: Iterable[Delegate], kept: Iterable[Record]
) -> list[tuple[Delegate, tuple[Mapping[str, str], ...]]]:
    """Each different one of *delegates*, with all attachments that its network's name still has.

    Several configurations, even of several Multus networks, may share one network's name.
    """
    valid: dict[str, list[Mapping[str, str]]] = {}
    for record in kept:
        for index in record.left():
            delegate = record.planned[index].delegate
            entry = {"containerID": record.request.container_id, "ifname": delegate.ifname}
            valid.setdefault(delegate.name, []).append(entry)
    different = {_identity(each): each for each in map(_of_nobody, delegates)}
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


def _offered(call: Call) -> list[Delegate]:
    """The delegates that the configuration offers every container; none when it cannot be told."""
    try:
        resolved = resolve.resolve(call.installed, call.request, call.conf)
        return list(order.primary_first(resolved.delegates))
    except CNIError as error:
        call.log.verbose(f"no garbage is collected in networks without a record: {error}")
        return []


def _of_nobody(delegate: Delegate) -> Delegate:
    """The network itself, without what one container asked of it."""
    plugins = tuple(
        Plugin({k: v for k, v in each.config.items() if k != "runtimeConfig"}, each.invoker)
        for each in delegate.plugins
    )
    return evolve(delegate, plugins=plugins, runtime_config={}, ifname="", options={})


def _identity(delegate: Delegate) -> tuple[str, str, bytes]:
    meant = ("capabilities", "cniVersion", "name")
    configs = [
        {key: value for key, value in plugin.config.items() if key not in meant}
        for plugin in delegate.plugins
    ]
    return delegate.name, delegate.provenance.value, encode(configs)
