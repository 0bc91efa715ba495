"""The ptp invoker: a veth pair between container and host, without starting a process.

It replaces the reference plugin ``ptp``: the same links, addresses, routes, rules and result, so
either can check and detach what the other attached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus import hookimpl

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.invoker import Declined, Invoker
    from multus.api.network import Delegate, Plugin

#: The keys of a ``ptp`` configuration that are served here; with any other, the binary is run.
KEYS = frozenset({"dns", "ipam", "ipMasq", "ipMasqBackend", "mtu"})


@hookimpl
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | Declined | None:
    """Offer to execute type ``ptp`` when every key of the configuration is known."""
    if plugin.type != "ptp":
        return None
    from multus.api.invoker import declined
    from multus_invoker_ptp.invoker import Ptp

    return declined(plugin, KEYS) or Ptp()
