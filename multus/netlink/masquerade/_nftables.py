"""Masquerading by nftables, through netlink: no program is needed.

The table is the reference plugin's: one rule for each address.  A rule's comment starts with a mark
of its owner, by which it is found again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from multus.netlink import NETLINK_NETFILTER, Channel, Message, Refused, open_channel
from multus.netlink.addresses import network_of
from multus.netlink.masquerade import _nft as nft
from multus.netlink.masquerade._owner import Owner, network_mark

TABLE = "cni_plugins_masquerade"
CHAIN = "masq_checks"
_HOOKED = "postrouting"
_TABLE_COMMENT = "Masquerading of CNI networks"
_CHAIN_COMMENT = "One rule for each address of a container"
_MULTICAST = ("224.0.0.0/4", "ff00::/8")


def add(owner: Owner, addresses: Sequence[str]) -> None:
    """Add a rule for each address (with prefix); these replace the owner's old rules."""
    with open_channel(NETLINK_NETFILTER) as channel:
        messages = [
            nft.add_table(TABLE, _TABLE_COMMENT),
            nft.add_chain(TABLE, CHAIN, _CHAIN_COMMENT),
            nft.add_postrouting(TABLE, _HOOKED),
            # Written again each time: another program may have flushed or changed the chain.
            nft.flush(TABLE, _HOOKED),
        ]
        for multicast in _MULTICAST:
            matched = nft.of_family(multicast) + nft.to_network(multicast, inside=True)
            messages.append(nft.add_rule(TABLE, _HOOKED, [*matched, nft.leave()]))
        messages.append(nft.add_rule(TABLE, _HOOKED, [nft.goto(CHAIN)]))
        messages += [
            nft.delete_rule(TABLE, CHAIN, rule.handle)
            for rule in _rules(channel)
            if rule.comment.startswith(owner.mark)
        ]
        messages += [_rule(owner, address) for address in addresses]
        nft.commit(channel, messages)


def remove(owners: Iterable[Owner]) -> None:
    """Remove the owners' rules."""
    marks = tuple(owner.mark for owner in owners)
    with open_channel(NETLINK_NETFILTER) as channel:
        _delete(channel, [rule for rule in _rules(channel) if rule.comment.startswith(marks)])


def collect(network: str, valid: Iterable[Owner]) -> None:
    """Remove the network's rules that belong to none of *valid*."""
    kept = tuple(owner.mark for owner in valid)
    with open_channel(NETLINK_NETFILTER) as channel:
        stale = [
            rule
            for rule in _rules(channel)
            if rule.comment.startswith(network_mark(network)) and not rule.comment.startswith(kept)
        ]
        _delete(channel, stale)


def _rule(owner: Owner, address: str) -> Message:
    matched = nft.from_address(address.partition("/")[0])
    matched += nft.to_network(network_of(address), inside=False)
    return nft.add_rule(TABLE, CHAIN, [*matched, nft.masquerade()], owner.description)


def _rules(channel: Channel) -> list[nft.Rule]:
    try:
        return nft.list_rules(channel, TABLE, CHAIN)
    except Refused as error:
        if error.errno in nft.ABSENT:
            return []
        raise


def _delete(channel: Channel, rules: Sequence[nft.Rule]) -> None:
    if rules:
        nft.commit(channel, [nft.delete_rule(TABLE, CHAIN, rule.handle) for rule in rules])
