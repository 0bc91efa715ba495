"""What the kernel under the tests has."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pytest

from multus.testing.command import CommandFailed
from multus.testing.netns import Node

#: Commands that fail on a kernel which lacks what a type needs.
_PROBES: Mapping[str, str] = {
    "ipvlan": "ip link add link uplink name probe type ipvlan",
    "vlan": "ip link add link uplink name probe type vlan id 7",
    "dummy": "ip link add probe type dummy",
    "vrf": "ip link add probe type vrf table 9",
    "VLAN filter": "ip link add probe type bridge vlan_filtering 1",
    "bandwidth": "ip link add probe type ifb && tc qdisc add dev uplink root tbf rate 1mbit"
    " burst 9kb latency 1s && tc qdisc add dev uplink ingress && tc filter add dev uplink parent"
    " ffff: u32 match u32 0 0 action mirred egress redirect dev probe",
    "nftables": "nft add table ip probe",
}


def require_kernel(kind: str) -> None:
    """Skip the test when this kernel lacks what plugins of this type need."""
    if not _kernel_has(kind):
        pytest.skip(f"this kernel lacks a kind of link ({kind})")


def require_nftables() -> None:
    """Skip the test when this kernel has no tables of nftables for IPv4 and IPv6."""
    if not _kernel_has("nftables"):
        pytest.skip("this kernel lacks nftables for IP")


@cache
def _kernel_has(kind: str) -> bool:
    node = Node.create("probe")
    try:
        node.run("sh", "-c", _PROBES.get(kind, "true"))
    except CommandFailed:
        return False
    finally:
        node.remove()
    return True
