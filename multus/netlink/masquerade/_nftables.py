"""Masquerading by nftables, through netlink: no program is needed.

The table is the reference plugin's: one rule for each address.  A rule's comment starts with a mark
of its owner, by which it is found again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from multus.netlink import Channel, Message, nftables
from multus.netlink import nftexpressions as nft
from multus.netlink.addresses import network_of
from multus.netlink.masquerade._owner import Owner, network_mark

TABLE = nftables.Table(nftables.INET, "cni_plugins_masquerade")
CHAIN = "masq_checks"
_HOOKED = "postrouting"
_TABLE_COMMENT = "Masquerading of CNI networks"
_CHAIN_COMMENT = "One rule for each address of a container"
_MULTICAST = ("224.0.0.0/4", "ff00::/8")


def add(owner: Owner, addresses: Sequence[str]) -> None:
    """Add a rule for each address (with prefix); these replace the owner's old rules."""
    with nftables.channel() as channel:
        messages = [
            TABLE.add(_TABLE_COMMENT),
            TABLE.add_chain(CHAIN, _CHAIN_COMMENT),
            TABLE.add_base_chain(
                _HOOKED, kind="nat", hook=nftables.POSTROUTING, priority=nftables.SOURCE_NAT
            ),
            # Written again each time: another program may have flushed or changed the chain.
            TABLE.flush(_HOOKED),
        ]
        for multicast in _MULTICAST:
            matched = nft.of_family(multicast) + nft.address("destination", multicast)
            messages.append(TABLE.add_rule(_HOOKED, [*matched, nft.leave()]))
        messages.append(TABLE.add_rule(_HOOKED, [nft.goto(CHAIN)]))
        messages += [
            TABLE.delete_rule(CHAIN, rule.handle)
            for rule in TABLE.list_rules(channel, CHAIN)
            if rule.comment.startswith(owner.mark)
        ]
        messages += [_rule(owner, address) for address in addresses]
        nftables.commit(channel, messages)


def remove(owners: Iterable[Owner]) -> None:
    """Remove the owners' rules."""
    marks = tuple(owner.mark for owner in owners)
    with nftables.channel() as channel:
        rules = TABLE.list_rules(channel, CHAIN)
        _delete(channel, [rule for rule in rules if rule.comment.startswith(marks)])


def collect(network: str, valid: Iterable[Owner]) -> None:
    """Remove the network's rules that belong to none of *valid*."""
    kept = tuple(owner.mark for owner in valid)
    with nftables.channel() as channel:
        stale = [
            rule
            for rule in TABLE.list_rules(channel, CHAIN)
            if rule.comment.startswith(network_mark(network)) and not rule.comment.startswith(kept)
        ]
        _delete(channel, stale)


def _rule(owner: Owner, address: str) -> Message:
    alone = address.partition("/")[0]
    matched = nft.of_family(alone) + nft.address("source", alone)
    matched += nft.address("destination", network_of(address), inside=False)
    return TABLE.add_rule(CHAIN, [*matched, nft.masquerade()], owner.description)


def _delete(channel: Channel, rules: Sequence[nftables.Rule]) -> None:
    nftables.commit(channel, [TABLE.delete_rule(CHAIN, rule.handle) for rule in rules])
