"""Firewall rules that name the container that they are for.

The formats are those of the reference plugins, which the in-process plugins keep:

* iptables, table nat: a jump whose comment has the network's name and the container's ID, for
  masquerading (from POSTROUTING) and for ports (from CNI-HOSTPORT-DNAT);
* nftables, table ``cni_plugins_masquerade``: a comment with network, interface and container;
* nftables, table ``cni_hostport``: the container's ID is the whole comment;
* nftables, table ``nat`` of family bridge: ``macspoofchk-<container>-<interface>``.

A comment may be cut, and the container's ID with it.

Source: containernetworking plugins 1.1.1 and 1.9, by what they leave in the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import NamedTuple

from multus.netlink import Channel, Message, iptables, nftables
from multus.netlink.nftables import BRIDGE, INET, IPV4, IPV6, Table

_MASQUERADING, _PORTS, _MACS = "masquerading", "ports", "MAC check"

_BY_IPTABLES = (
    ("POSTROUTING", _MASQUERADING, re.compile(r'name: "(?P<network>[^"]*)" id: "(?P<id>[^"]+)"')),
    (
        "CNI-HOSTPORT-DNAT",
        _PORTS,
        re.compile(r'dnat name: "(?P<network>[^"]*)" id: "(?P<id>[^"]+)"'),
    ),
)
_BY_NFTABLES = (
    (
        Table(INET, "cni_plugins_masquerade"),
        ("masq_checks",),
        _MASQUERADING,
        re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}, net: (?P<network>.*), if: .*, id: (?P<id>.+)"),
    ),
    *(
        (
            Table(family, "cni_hostport"),
            ("hostports", "hostip_hostports", "masquerading"),
            _PORTS,
            re.compile(r"(?P<id>[A-Za-z0-9][A-Za-z0-9_.-]*)(?P<network>)"),
        )
        for family in (IPV4, IPV6)
    ),
)
_OF_MACS = (Table(BRIDGE, "nat"), "PREROUTING", "macspoofchk-")


class Rule(NamedTuple):
    """A rule: *place* says where it is, for `remove`, and *kind* what it is for.

    *network* is empty where the comment does not name it.  *container* may be the beginning of the
    ID; for a MAC check the interface follows it.  *body* has the rule's addresses as bytes.
    """

    place: str
    kind: str
    network: str
    container: str
    comment: str
    body: bytes

    def is_of(self, container_id: str) -> bool:
        """Whether the rule is this container's."""
        if self.kind == _MACS:
            return self.container.startswith(f"{container_id}-")
        return container_id == self.container or (
            len(self.container) > 16 and container_id.startswith(self.container)
        )


def every() -> list[Rule]:
    """All such rules in the calling thread's namespace, the host's; raises ``KernelRefused``."""
    return [rule for place in _places() for rule in place.read()]


def remove(rules: Collection[Rule]) -> None:
    """Remove these rules, and the chains that they alone jump to; raises ``KernelRefused``."""
    for place in _places():
        comments = {each.comment for each in rules if each.place == place.name}
        if comments:
            place.remove(comments)


class _Place(NamedTuple):
    name: str
    read: Callable[[], list[Rule]]
    remove: Callable[[Collection[str]], None]


def _places() -> Iterator[_Place]:
    for entry, kind, pattern in _BY_IPTABLES:
        name = f"iptables {entry}"
        yield _Place(
            name,
            partial(_jumps, name, entry, kind, pattern),
            partial(_remove_jumps, entry),
        )
    for table, chains, kind, pattern in _BY_NFTABLES:
        name = f"{table.family} {table.name}"
        yield _Place(
            name,
            partial(_rules, name, table, chains, kind, pattern),
            partial(_remove_rules, table, chains),
        )
    yield _Place("bridge nat", _mac_checks, _remove_mac_checks)


def _jumps(place: str, entry: str, kind: str, pattern: re.Pattern[str]) -> list[Rule]:
    found = ((pattern.fullmatch(said), said, body) for said, body in iptables.jumps_from(entry))
    return [
        Rule(place, kind, match["network"], match["id"], said, body)
        for match, said, body in found
        if match is not None
    ]


def _remove_jumps(entry: str, comments: Collection[str]) -> None:
    iptables.remove_jumped_to(entry, lambda comment: comment in comments)


def _rules(
    place: str, table: Table, chains: Collection[str], kind: str, pattern: re.Pattern[str]
) -> list[Rule]:
    with nftables.channel() as channel:
        found = [
            (pattern.fullmatch(rule.comment), rule)
            for chain in chains
            for rule in table.list_rules(channel, chain)
        ]
    return [
        Rule(place, kind, match["network"], match["id"], rule.comment, rule.body)
        for match, rule in found
        if match is not None
    ]


def _remove_rules(table: Table, chains: Collection[str], comments: Collection[str]) -> None:
    with nftables.channel() as channel:
        stale = [
            table.delete_rule(chain, rule.handle)
            for chain in chains
            for rule in table.list_rules(channel, chain)
            if rule.comment in comments
        ]
        nftables.commit(channel, stale)


def _mac_checks() -> list[Rule]:
    table, entry, mark = _OF_MACS
    with nftables.channel() as channel:
        found = table.list_rules(channel, entry)
    return [
        Rule("bridge nat", _MACS, "", each.comment.removeprefix(mark), each.comment, each.body)
        for each in found
        if each.comment.startswith(mark)
    ]


def _remove_mac_checks(comments: Collection[str]) -> None:
    table, entry, _mark = _OF_MACS
    with nftables.channel() as channel:
        stale = [each for each in table.list_rules(channel, entry) if each.comment in comments]
        chains = [
            chain
            for rule in stale
            for target in rule.targets()
            for chain in (target, f"{target}-mac")
        ]
        present = [chain for chain in chains if _exists(channel, table, chain)]
        messages: list[Message] = [table.delete_rule(entry, each.handle) for each in stale]
        messages += [table.flush(chain) for chain in present]
        messages += [table.delete_chain(chain) for chain in present]
        nftables.commit(channel, messages)


def _exists(channel: Channel, table: Table, chain: str) -> bool:
    return channel.request([table.get_chain(chain)])[0] is not None
