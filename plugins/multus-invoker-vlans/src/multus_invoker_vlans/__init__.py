"""The vlans invoker: macvlan, ipvlan, vlan and dummy links, without starting a process.

It replaces the reference plugins of these names: the same links, addresses, routes and result, so
either can check and detach what the other attached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus import hookimpl

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.invoker import Declined, Invoker
    from multus.api.network import Delegate, Plugin

_ON_PARENT = frozenset({"dns", "ipam", "linkInContainer", "master", "mtu"})

#: The keys of each type that are served here; with any other, the binary is run.
KEYS = {
    "macvlan": _ON_PARENT | {"mac", "mode"},
    "ipvlan": _ON_PARENT | {"mode"},
    "vlan": _ON_PARENT | {"vlanId"},
    "dummy": frozenset({"dns", "ipam"}),
}


@hookimpl
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | Declined | None:
    """Offer to execute the four types when every key of the configuration is known."""
    if plugin.type not in KEYS:
        return None
    from multus.api.invoker import Declined, declined
    from multus_invoker_vlans import invokers

    if plugin != delegate.plugins[0]:
        return Declined(plugin.type, f"{plugin.type} is not the first plugin of its chain")
    return declined(plugin, KEYS[plugin.type]) or invokers.OF[plugin.type]()
