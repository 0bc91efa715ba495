"""Masquerading by iptables, with either kernel backend (legacy or nf_tables) of its binaries.

Each container and network has one chain in table nat.  It accepts packets to the container's own
network, and masquerades all others except multicast; POSTROUTING jumps to it for the container's
address.  All changes of a family are made at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from multus.netlink import iptables
from multus.netlink.addresses import network_of
from multus.netlink.masquerade._owner import Owner

_ENTRY = "POSTROUTING"
_MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}
_OWNED = re.compile(r'name: "(?P<network>[^"]+)" id: "(?P<container>[^"]+)"')


def add(owner: Owner, addresses: Sequence[str], programs: iptables.Programs) -> None:
    """Add the rules for these addresses (with prefix); an existing rule is not added twice."""
    for version in (4, 6):
        ours = [each for each in addresses if (":" in each) == (version == 6)]
        if ours:
            # The chain may exist: another interface of the container is in this network.
            rules = _rules(owner, ours, _MULTICAST[version])
            iptables.ensure(version, [f"-N {owner.chain}", *rules], programs=programs)


def remove(owners: Iterable[Owner], kept: Collection[str], programs: iptables.Programs) -> None:
    """Remove the rules in these owners' chains, except for addresses in *kept*."""
    iptables.remove_chains({owner.chain: _ENTRY for owner in owners}, kept, programs)


def collect(network: str, containers: Collection[str], programs: iptables.Programs) -> None:
    """Remove the rules of the network's containers that are not among these."""

    def stale(comment: str) -> bool:
        owned = _OWNED.fullmatch(comment)
        if owned is None or owned["network"] != network:
            return False
        return owned["container"] not in containers

    iptables.remove_jumped_to(_ENTRY, stale, programs)


def _rules(owner: Owner, addresses: Sequence[str], multicast: str) -> list[str]:
    """The rules, as ``iptables-save`` prints them."""
    comment = f"-m comment --comment {iptables.quoted(owner.comment)}"
    rules = []
    for address in addresses:
        alone = network_of(address.partition("/")[0])
        rules += [
            f"-A {owner.chain} -d {network_of(address)} {comment} -j ACCEPT",
            f"-A {owner.chain} ! -d {multicast} {comment} -j MASQUERADE",
            f"-A {_ENTRY} -s {alone} {comment} -j {owner.chain}",
        ]
    return list(dict.fromkeys(rules))
