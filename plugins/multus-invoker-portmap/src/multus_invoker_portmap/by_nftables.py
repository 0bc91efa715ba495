"""Port mappings by nftables, in table ``cni_hostport`` of each family::

    prerouting, output    to an address of the host       -> hostports_all
    hostports_all         everything                      -> hostip_hostports, hostports
    hostports             to one host port                -> translated to the container
    masquerading          to the container, from itself or localhost
                                                          -> masqueraded

Rules have the container's ID as their comment.  ``hostip_hostports`` is of older releases of the
reference plugin.

Source: containernetworking plugins 1.9, by what they leave in the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from multus.api.result import EVERYWHERE
from multus.netlink import Channel, Transport, nftables
from multus.netlink import nftexpressions as nft
from multus.netlink.addresses import encode

if TYPE_CHECKING:
    from socket import socket

    from multus.netlink import Message
    from multus_invoker_portmap.config import Config

_TABLES = {
    4: nftables.Table(nftables.IPV4, "cni_hostport"),
    6: nftables.Table(nftables.IPV6, "cni_hostport"),
}
_COMMENT = "CNI portmap plugin"
_TOP, _OLD, _PORTS = "hostports_all", "hostip_hostports", "hostports"
_MASQUERADING = "masquerading"
_HOOKS = {"prerouting": nftables.PREROUTING, "output": nftables.OUTPUT}

_Transports = Callable[["socket"], Transport]


def add(config: Config, targets: Mapping[int, str], transport: _Transports = Transport) -> None:
    """Map the ports to these addresses, one for each family (4 or 6), with prefix."""
    messages = [
        message
        for version, address in targets.items()
        for message in (
            *_shared(version, snat=config.snat),
            *_own(config, version, address.partition("/")[0]),
        )
    ]
    with nftables.channel(transport) as channel:
        nftables.commit(channel, messages)


def missing(config: Config, version: int) -> str:
    """The chain that has less of the container's rules than the mappings need, or ""."""
    forwards = sum(each.applies_to(version) for each in config.forwards)
    masqueraded = len(_masqueraded(config, version, "")) if config.snat else 0
    table, comment = _TABLES[version], nftables.comment_of(config.container_id)
    with nftables.channel() as channel:
        for chain, wanted in ((_PORTS, forwards), (_MASQUERADING, masqueraded)):
            if wanted:
                rules = table.list_rules(channel, chain)
                if sum(rule.comment == comment for rule in rules) < wanted:
                    return chain
    return ""


def remove(
    container_id: str, addresses: Collection[str], transport: _Transports = Transport
) -> None:
    """Remove the container's rules for these addresses (without prefix); without any, all."""
    packed = [encode(each)[1] for each in addresses]
    comment = nftables.comment_of(container_id)
    with nftables.channel(transport) as channel:
        asked = [table.get_chain(_PORTS) for table in _TABLES.values()]
        found = zip(_TABLES.values(), channel.request(asked), strict=True)
        messages = [
            message
            for table, reply in found
            if reply is not None
            for chain in (_PORTS, _OLD, _MASQUERADING)
            for message in _deletions(channel, table, chain, comment, packed)
        ]
        nftables.commit(channel, messages)


def _deletions(
    channel: Channel, table: nftables.Table, chain: str, comment: str, packed: Collection[bytes]
) -> list[Message]:
    return [
        table.delete_rule(chain, rule.handle)
        for rule in table.list_rules(channel, chain)
        # The same container may have mappings to an address in another network.
        if rule.comment == comment and (not packed or any(each in rule.body for each in packed))
    ]


def _shared(version: int, *, snat: bool) -> list[Message]:
    """What all mappings need; written again each time, another program may have changed it."""
    table = _TABLES[version]
    messages = [
        table.add(_COMMENT),
        *(table.add_chain(chain) for chain in (_PORTS, _OLD, _TOP)),
        table.flush(_TOP),
        *(table.add_rule(_TOP, [nft.jump(chain)]) for chain in (_OLD, _PORTS)),
    ]
    for chain, hook in _HOOKS.items():
        priority = nftables.DESTINATION_NAT
        messages += [
            table.add_base_chain(chain, kind="nat", hook=hook, priority=priority),
            table.flush(chain),
            table.add_rule(chain, [*nft.to_this_host(), nft.jump(_TOP)]),
        ]
    if snat:
        priority = nftables.SOURCE_NAT
        messages.append(
            table.add_base_chain(
                _MASQUERADING, kind="nat", hook=nftables.POSTROUTING, priority=priority
            )
        )
    return messages


def _own(config: Config, version: int, address: str) -> list[Message]:
    table, messages = _TABLES[version], []
    for each in config.forwards:
        if each.applies_to(version):
            matched = nft.address("destination", each.host_ip) if each.host_ip else []
            matched += nft.port(each.protocol, each.host_port)
            rule = [*matched, *nft.translate_to(address, each.container_port)]
            messages.append(table.add_rule(_PORTS, rule, config.container_id))
    if config.snat:
        to = nft.address("destination", address)
        for source in _masqueraded(config, version, address):
            rule = [*nft.address("source", source), *to, nft.masquerade()]
            messages.append(table.add_rule(_MASQUERADING, rule, config.container_id))
    return messages


def _masqueraded(config: Config, version: int, address: str) -> list[str]:
    """The sources that the container must not see: itself, and the host's own loopback."""
    if config.masquerade_all:
        return [EVERYWHERE[version]]
    return [address, "127.0.0.1"] if version == 4 else [address]
