"""The routes invoker: vrf and sbr, without starting a process.

Both decide which routing table the packets of a container's interface use.  It replaces the
reference plugins of these names: the same rules, routes and devices, so either can check and undo
what the other did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus import hookimpl

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.invoker import Declined, Invoker
    from multus.api.network import Delegate, Plugin

#: The keys of each type that are served here; with any other, the binary is run.
KEYS = {
    "vrf": frozenset({"dns", "table", "vrfname"}),
    "sbr": frozenset({"addSourceHints", "dns", "gateways", "table"}),
}


@hookimpl
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | Declined | None:
    """Offer to execute types ``vrf`` and ``sbr`` when every key of the configuration is known."""
    if plugin.type not in KEYS:
        return None
    from multus.api.invoker import declined

    if refused := declined(plugin, KEYS[plugin.type]):
        return refused
    if plugin.type == "vrf":
        from multus_invoker_routes.vrf import Vrf

        return Vrf()
    from multus_invoker_routes.sbr import Sbr

    return Sbr()
