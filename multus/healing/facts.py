"""What there is on the node, and who may own it.  ``multus.healing.look`` reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import field, frozen

#: The kinds of things, in the order in which those of one container are removed.
RECORD, INTENT, LINK, RULES, ADDRESS = "record", "intent", "link", "rules", "address"
KINDS = (RECORD, INTENT, LINK, RULES, ADDRESS)

if TYPE_CHECKING:
    from multus.api.errors import CNIError
    from multus.healing.owned import Rule
    from multus.ipam.upkeep import Held
    from multus.netlink.links import Link
    from multus.state.record import Record


@frozen
class Seen:
    """A record, and why its container is gone; *gone* is empty when it lives."""

    record: Record
    folder: str
    gone: str = ""


@frozen
class Intent:
    """An intent that was never completed, in the journal *folder*; *since* as in ``Held``."""

    folder: str
    container_id: str
    ifname: str
    since: float


@frozen
class Rules:
    """Firewall rules of one owner, for one purpose."""

    rules: tuple[Rule, ...]


@frozen
class Facts:
    """The node at one moment.

    * ``now``: in seconds since 1970; ``booted``: when the node was started, on the same clock;
    * ``records``: those of every ``cniDir``; ``given_up``: those that removal gave up on;
    * ``unread``: the containers whose record cannot be read; ``errors``: why, and what else could
      not be looked at;
    * ``held``: the addresses in the stores; ``networks``: the names of the networks that are ours;
    * ``links``: the host's; ``rules``: those of its firewall that name a container;
    * ``living``: the containers that a runtime says it has; ``witnessed``: those of its own list,
      which it has whether or not their namespace exists;
    * ``in_use``: the addresses in all namespaces that live, by text; read only when something
      `may_be_nobodys`;
    * ``owners_unknown``: what no record names may still have an owner, since a folder of records
      cannot be listed, or not every namespace is seen; ``without_witness``: the runtime was to be
      asked, and does not answer.
    """

    now: float
    booted: float
    records: Sequence[Seen] = ()
    given_up: Sequence[Record] = ()
    unread: frozenset[str] = frozenset()
    intents: Sequence[Intent] = ()
    held: Sequence[Held] = ()
    networks: frozenset[str] = frozenset()
    links: Sequence[Link] = ()
    rules: Sequence[Rule] = ()
    living: frozenset[str] = frozenset()
    witnessed: frozenset[str] = frozenset()
    in_use: frozenset[str] = frozenset()
    owners_unknown: bool = False
    without_witness: bool = False
    errors: list[CNIError] = field(factory=list)

    def by_container(self) -> Mapping[str, Sequence[Seen]]:
        """The records of each container."""
        found: dict[str, list[Seen]] = {}
        for each in self.records:
            found.setdefault(each.record.request.container_id, []).append(each)
        return found


def may_be_nobodys(facts: Facts) -> bool:
    """Whether an address or a rule may be without an owner: no record has its container."""
    recorded = facts.by_container().keys()
    return any(each.container_id not in recorded for each in facts.held) or any(
        not any(each.is_of(container) for container in recorded) for each in facts.rules
    )
