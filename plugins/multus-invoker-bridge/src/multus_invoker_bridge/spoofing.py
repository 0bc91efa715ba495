"""The key ``macspoofchk``: frames from other hardware addresses than the container's are dropped.

The rules are in table ``nat`` of family bridge::

    PREROUTING                from the host's end        -> cni-br-iface-<id>
    cni-br-iface-<id>         everything                 -> cni-br-iface-<id>-mac
    cni-br-iface-<id>-mac     from the container's MAC   accepted
                              everything else            dropped

``<id>`` is the container's ID and the interface.  The table and PREROUTING stay.

Source: containernetworking plugins 1.1.1 and 1.9, by what they leave in the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from multus.netlink import Channel, links, nftables, open_channel
from multus.netlink import nftexpressions as nft

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.inprocess import Job, Pair
    from multus.netlink import Message
    from multus_invoker_bridge.config import Config

_TABLE = nftables.Table(nftables.BRIDGE, "nat")
_ENTRY = "PREROUTING"
# Before the kernel's other hooks of bridges.
_PRIORITY = -300
_MARK = "macspoofchk-"


def guard(job: Job[Config], pair: Pair) -> None:
    """Let only frames from the container's own address pass; a later failure takes it back."""
    job.on_failure(remove, [job.invocation])
    chain, by_mac = _chains(job.invocation)
    comment = f"{_MARK}{_id(job.invocation)}"
    from_pair = [*nft.from_interface(pair.name), nft.jump(chain)]
    from_container = [*nft.from_mac(links.encode_mac(pair.far_mac)), nft.leave()]
    messages = [
        _TABLE.add(),
        _TABLE.add_base_chain(_ENTRY, kind="filter", hook=nftables.PREROUTING, priority=_PRIORITY),
        _TABLE.add_chain(chain),
        _TABLE.add_chain(by_mac),
        _TABLE.flush(chain),
        _TABLE.flush(by_mac),
        _TABLE.add_rule(_ENTRY, from_pair, comment),
        _TABLE.add_rule(chain, [nft.jump(by_mac)], comment),
        _TABLE.add_rule(by_mac, from_container, comment),
        _TABLE.add_rule(by_mac, [nft.drop()], comment),
    ]
    with nftables.channel() as channel:
        nftables.commit(channel, messages)


def may_guard(invocation: Invocation) -> bool:
    """Whether rules may exist; never raises: DEL must work with an invalid configuration."""
    return invocation.config.get("macspoofchk") not in (None, False, "false", "False")


def is_guarded(invocation: Invocation) -> bool:
    """Whether all chains are there, and used."""
    chain, by_mac = _chains(invocation)
    with nftables.channel() as channel:
        return all(
            any(rule.jumps_to(to) for rule in _TABLE.list_rules(channel, origin))
            for origin, to in ((_ENTRY, chain), (chain, by_mac))
        )


def remove(invocations: Sequence[Invocation]) -> None:
    """Remove the rules of these attachments; missing ones are ignored."""
    with nftables.channel() as channel:
        _remove(channel, [_chains(each) for each in invocations])


def collect() -> None:
    """Remove rules for interfaces that do not exist: nobody can use them."""
    with nftables.channel() as channel, open_channel() as host:
        stale = [
            (chain, f"{chain}-mac")
            for rule in _TABLE.list_rules(channel, _ENTRY)
            if rule.comment.startswith(_MARK) and not _has_interface(host, rule)
            for chain in rule.targets()
        ]
        _remove(channel, stale)


def _remove(channel: Channel, guards: Sequence[tuple[str, str]]) -> None:
    names = [chain for guard in guards for chain in guard]
    replies = channel.request([_TABLE.get_chain(chain) for chain in names])
    present = [chain for chain, reply in zip(names, replies, strict=True) if reply is not None]
    if not present:
        return
    messages: list[Message] = [
        _TABLE.delete_rule(_ENTRY, rule.handle)
        for rule in _TABLE.list_rules(channel, _ENTRY)
        if not set(present).isdisjoint(rule.targets())
    ]
    messages += [_TABLE.flush(chain) for chain in present]
    messages += [_TABLE.delete_chain(chain) for chain in present]
    nftables.commit(channel, messages)


def _has_interface(host: Channel, rule: nftables.Rule) -> bool:
    names = [each.rstrip(b"\0").decode(errors="replace") for each in rule.compared()]
    return not names or links.find(host, names[0]) is not None


def _id(invocation: Invocation) -> str:
    return f"{invocation.request.container_id}-{invocation.ifname}"


def _chains(invocation: Invocation) -> tuple[str, str]:
    chain = f"cni-br-iface-{_id(invocation)}"
    return chain, f"{chain}-mac"
