"""The plan: what has no owner and is removed, and what is left alone, with the reason of each.

It is made of facts alone, and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import field, frozen

from multus.healing.facts import (
    ADDRESS,
    INTENT,
    KINDS,
    LINK,
    RECORD,
    RULES,
    Facts,
    Intent,
    Rules,
    Seen,
)
from multus.netlink.addresses import encode

if TYPE_CHECKING:
    from multus.api.errors import CNIError
    from multus.healing.owned import Rule
    from multus.ipam.upkeep import Held
    from multus.netlink.links import Link
    from multus.state.record import Record

#: How long an address may be reserved before its container has it, in seconds.
RESERVED = 60.0

#: The names that the reference plugins and ours give to what they make on the host: an end of a
#: veth pair, and the device that limits what a container receives.
HOST_END = re.compile(r"veth[0-9a-f]{8}")
_MADE = re.compile(r"veth[0-9a-f]{8}|bwp[0-9a-f]+")


@frozen
class Thing:
    """One thing: its *kind*, what it is, and why it is removed, or left alone.

    ``container_id`` is empty when no container is known; ``since`` is in seconds since 1970, 0 when
    it is not known.  ``what`` is the thing itself.
    """

    kind: str
    name: str
    reason: str
    container_id: str = ""
    since: float = 0.0
    what: Seen | Intent | Link | Held | Rules | Record | None = field(
        default=None, eq=False, repr=False
    )


@frozen
class Plan:
    """What is removed, in order; what is left alone; and what could not be looked at.

    What belongs to a container comes after its records, and the oldest container comes first.
    """

    remove: tuple[Thing, ...] = ()
    left: tuple[Thing, ...] = ()
    errors: tuple[CNIError, ...] = ()


def plan(facts: Facts, grace: float = 0.0) -> Plan:
    """What to do about the *facts*; what is younger than *grace* seconds is not touched.

    Without its witness nothing is removed; without all records, nothing that no record names.
    """
    given_up = tuple(_given_up(each) for each in facts.given_up)
    if facts.without_witness:
        return Plan((), given_up, tuple(facts.errors))
    owners = _Owners(facts, grace)
    found = [*owners.records(), *owners.intents(), *owners.links()]
    left = list(given_up)
    for thing, ours in (*owners.rules(), *owners.addresses()):
        (found if ours else left).append(thing)
    left += owners.strange_links()
    return Plan(tuple(sorted(found, key=owners.order)), tuple(left), tuple(facts.errors))


class _Owners:
    """Who owns what.

    ``dead`` maps the containers that are gone to the time of their oldest record; ``known`` are all
    containers that have a record or an intent, dead or not.
    """

    def __init__(self, facts: Facts, grace: float) -> None:
        self._facts = facts
        self._grace = grace
        every = facts.by_container()
        self._removed = [
            each
            for records in every.values()
            for each in records
            if each.gone and self._is_old(each.record.started, grace)
            if each.record.request.container_id not in facts.witnessed
        ]
        removed = {id(each) for each in self._removed}
        self.dead: Mapping[str, float] = {
            container_id: min(each.record.started for each in records)
            for container_id, records in every.items()
            if container_id not in facts.unread and all(id(each) in removed for each in records)
        }
        intents = {each.container_id for each in facts.intents}
        self.known = every.keys() | facts.unread | intents
        self._living = facts.living | facts.witnessed | self._unrecorded()

    def _unrecorded(self) -> frozenset[str]:
        """The containers without a record of which a namespace that lives has an address."""
        facts = self._facts
        return frozenset(
            each.container_id
            for each in facts.held
            if each.container_id and each.container_id not in self.known
            if each.address in facts.in_use
        )

    def _is_old(self, since: float, grace: float) -> bool:
        """Whether it is older than *grace*; one of another boot is, and one of a wrong clock.

        A clock that was set back a little since does not make it one.
        """
        ahead = self._facts.now + RESERVED
        return not max(self._facts.booted, self._facts.now - grace) < since <= ahead

    def order(self, thing: Thing) -> tuple[float, str, int, str]:
        """The place of a thing in the plan."""
        since = self.dead.get(thing.container_id, thing.since)
        return since, thing.container_id, KINDS.index(thing.kind), thing.name

    # --- Records ----------------------------------------------------------------------------------

    def records(self) -> Iterator[Thing]:
        for each in self._removed:
            record, owner = each.record, each.record.request.container_id
            yield Thing(RECORD, _named(record), each.gone, owner, record.started, what=each)

    def intents(self) -> Iterator[Thing]:
        for each in self._facts.intents:
            if self._is_old(each.since, max(self._grace, RESERVED)):
                name = f"container {short(each.container_id)}, interface {each.ifname}"
                why = "its ADD was killed before it attached anything"
                yield Thing(INTENT, name, why, each.container_id, each.since, what=each)

    # --- Links ------------------------------------------------------------------------------------

    def links(self) -> Iterator[Thing]:
        """The links that dead containers' results name, and that did not go with the namespace."""
        owners = {
            (link.name, link.mac.lower()): each.request.container_id
            for each in self._dead_records()
            for attachment in each.done.values()
            for link in attachment.result.interfaces
            if link.mac and not link.sandbox and _MADE.fullmatch(link.name)
        }
        for each in self._facts.links:
            owner = owners.get((each.name, each.mac.lower()))
            if owner is not None and self._is_abandoned(each):
                why = f"container {short(owner)} is gone"
                yield Thing(LINK, f"interface {each.name}", why, owner, what=each)

    def _dead_records(self) -> Iterator[Record]:
        yield from (each.record for each in self._removed)
        for each in self._facts.given_up:
            if each.request.container_id not in self.known | self._living:
                yield each

    def _is_abandoned(self, link: Link) -> bool:
        """Whether nothing in another namespace is at the other end."""
        return link.kind != "veth" or link.peer_namespace is None

    def strange_links(self) -> Iterator[Thing]:
        """Pairs that have a name of ours and both ends on the host, and that nothing else names."""
        here = {each.index for each in self._facts.links}
        named = {
            link.name
            for each in (*(seen.record for seen in self._facts.records), *self._facts.given_up)
            for attachment in each.done.values()
            for link in attachment.result.interfaces
        }
        for each in self._facts.links:
            pair = each.kind == "veth" and each.peer_namespace is None and each.peer in here
            if pair and HOST_END.fullmatch(each.name) and each.name not in named:
                why = "both ends are on the host and no record names it: it may be another's"
                yield Thing(LINK, f"interface {each.name}", why, what=each)

    # --- Rules ------------------------------------------------------------------------------------

    def rules(self) -> Iterator[tuple[Thing, bool]]:
        """The rules without an owner; True for those that are ours."""
        used = [encode(each)[1] for each in self._facts.in_use]
        texts = [each.encode() for each in self._facts.in_use]
        groups: dict[tuple[str, str, str], list[Rule]] = {}
        for each in self._facts.rules:
            groups.setdefault((each.kind, each.network, each.container), []).append(each)
        for (kind, network, container), group in groups.items():
            name = f"{len(group)} firewall rule(s) for {kind}" + (network and f" of {network!r}")
            dead = self._whose(group[0], self.dead)
            if self._whose(group[0], self.known | self._living) and not dead:
                continue
            if dead:
                why = f"container {short(dead)} is gone"
                yield Thing(RULES, name, why, dead, what=Rules(tuple(group))), True
                continue
            if any(each in rule.body for rule in group for each in (*used, *texts)):
                continue
            yield self._nobodys(RULES, name, container, network, Rules(tuple(group)))

    def _whose(self, rule: Rule, containers: Iterable[str]) -> str:
        return next((each for each in containers if rule.is_of(each)), "")

    # --- Addresses --------------------------------------------------------------------------------

    def addresses(self) -> Iterator[tuple[Thing, bool]]:
        """The addresses without an owner; True for those that are ours."""
        for each in self._facts.held:
            owner = each.container_id
            name = f"address {each.address} of {each.network!r}"
            if owner in self.dead:
                why = f"container {short(owner)} is gone"
                yield Thing(ADDRESS, name, why, owner, each.since, what=each), True
            elif owner in self.known or owner in self._living or self._is_kept(each):
                continue
            elif not owner:
                why = "a kill or a power cut came before its owner was written down"
                ours = each.network in self._facts.networks
                yield Thing(ADDRESS, name, why, since=each.since, what=each), ours
            else:
                yield self._nobodys(ADDRESS, name, owner, each.network, each)

    def _is_kept(self, held: Held) -> bool:
        in_use = held.address in self._facts.in_use
        return in_use or not self._is_old(held.since, max(self._grace, RESERVED))

    def _nobodys(
        self, kind: str, name: str, owner: str, network: str, what: Held | Rules
    ) -> tuple[Thing, bool]:
        """What no record and no namespace has; it is ours when its network is."""
        ours = network in self._facts.networks and not self._facts.owners_unknown
        why = f"container {short(owner)} has no record, and no namespace that lives has it"
        if not ours:
            why = f"container {short(owner)} is not known here: it may be another program's"
        since = 0.0 if isinstance(what, Rules) else what.since
        return Thing(kind, name, why, owner, since, what=what), ours


def _given_up(record: Record) -> Thing:
    request = record.request
    networks = [str(record.planned[index].delegate) for index in sorted(record.failures)]
    why = (
        f"removing {', '.join(networks) or 'it'} was given up: remove what is left by hand, then"
        f" delete {record.path}"
    )
    return Thing(RECORD, _named(record), why, request.container_id, record.started, what=record)


def _named(record: Record) -> str:
    """The container, its pod, and its networks by interface."""
    request = record.request
    pod = f" of pod {request.pod_label}" if request.pod_label else ""
    planned = [record.planned[index].delegate for index in sorted(record.planned)]
    networks = ", ".join(f"{each.ifname} ({each.label or each.name})" for each in planned)
    return f"container {short(request.container_id)}{pod}, {networks or request.ifname}"


def short(container_id: str) -> str:
    """The beginning of a long ID."""
    return container_id if len(container_id) <= 16 else f"{container_id[:13]}..."


def counted(things: Sequence[Thing]) -> dict[str, int]:
    """How many there are of each kind."""
    return {kind: sum(each.kind == kind for each in things) for kind in KINDS}
