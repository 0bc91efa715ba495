"""Whose default route a container uses when several of its networks bring one.

Today's plugins let the last one win; those of Multus' first releases kept the first.  With
``"defaultRoute": "primary"`` the others yield to what is attached before them, the primary first.
The pod's own request for a default route goes before this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve

from multus.api import defaultroute

if TYPE_CHECKING:
    from multus.api.network import Delegate

PRIMARY, LAST = "primary", "last"

#: IPAM plugins that return exactly the routes of their configuration.
KNOWN_IPAM = ("host-local", "static")
#: Plugins that set no default route but those of their IPAM, and a bridge's ``isDefaultGateway``.
_KNOWN = frozenset(
    ("bandwidth", "bond", "bridge", "dummy", "firewall", "host-device", "ib-sriov", "ipoib")
    + ("ipvlan", "loopback", "macvlan", "passthru", "portmap", "ptp", "sbr", "sriov", "tap")
    + ("tuning", "vlan", "vrf")
)


def with_policy(delegates: Sequence[Delegate], policy: str) -> list[Delegate]:
    """*delegates*, of which all but the primary yield when the *policy* says so."""
    chosen = any(_is_decided(each) for each in delegates)
    if policy != PRIMARY or chosen or len(delegates) < 2:
        return list(delegates)
    return [
        each if each.primary or each.last or not may_bring(each) else yielding(each)
        for each in delegates
    ]


def yielding(delegate: Delegate) -> Delegate:
    """*delegate*, which leaves the default route to what is attached before it."""
    return evolve(delegate, plugins=(*delegate.plugins, defaultroute.yielding()))


def yields(delegate: Delegate) -> bool:
    """Whether *delegate* leaves the default route to what is attached before it."""
    return any(
        each.type == defaultroute.TYPE and "yields" in each.config for each in delegate.plugins
    )


def _is_decided(delegate: Delegate) -> bool:
    return any(each.type == defaultroute.TYPE for each in delegate.plugins)


def may_bring(delegate: Delegate) -> bool:
    """Whether a plugin of *delegate* may set a default route, as far as configurations say."""
    return any(_may_bring(plugin.config) for plugin in delegate.plugins)


def _may_bring(config: Mapping[str, Any]) -> bool:
    if config.get("type") not in _KNOWN or config.get("isDefaultGateway"):
        return True
    ipam = config.get("ipam")
    if not isinstance(ipam, Mapping) or not ipam.get("type"):
        return False
    routes = ipam.get("routes")
    listed = routes if isinstance(routes, Sequence) else ()
    return ipam["type"] not in KNOWN_IPAM or any(
        isinstance(each, Mapping) and str(each.get("dst", "")).endswith("/0") for each in listed
    )
