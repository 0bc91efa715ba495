"""The bridge invoker: a veth pair into a bridge of the host, without starting a process.

It replaces the reference plugin ``bridge``: the same links, addresses, routes, rules and result, so
either can check and detach what the other attached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus import hookimpl

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.invoker import Declined, Invoker
    from multus.api.network import Delegate, Plugin

#: The keys of a ``bridge`` configuration that are served here; with any other, the binary is run.
KEYS = frozenset(
    {
        *("bridge", "dns", "disableContainerInterface", "enabledad", "forceAddress"),
        *("hairpinMode", "ipMasq", "ipMasqBackend", "ipam", "isDefaultGateway", "isGateway"),
        *(
            "macspoofchk",
            "mtu",
            "portIsolation",
            "preserveDefaultVlan",
            "promiscMode",
            "vlan",
            "vlanTrunk",
        ),
    }
)


@hookimpl
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | Declined | None:
    """Offer to execute type ``bridge`` when every key of the configuration is known."""
    if plugin.type != "bridge":
        return None
    from multus.api.invoker import declined
    from multus_invoker_bridge.invoker import Bridge

    return declined(plugin, KEYS) or Bridge()
