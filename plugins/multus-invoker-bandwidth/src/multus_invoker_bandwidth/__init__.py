"""The bandwidth invoker: limits of a container's traffic, without starting a process.

It replaces the reference plugin ``bandwidth``: the same queues, devices and names, so either can
check and undo what the other did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus import hookimpl

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.invoker import Declined, Invoker
    from multus.api.network import Delegate, Plugin

#: The keys of a configuration that are served here; with any other, the binary is run.
KEYS = frozenset({"dns", "egressBurst", "egressRate", "ingressBurst", "ingressRate"})


@hookimpl
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | Declined | None:
    """Offer to execute type ``bandwidth`` when every key of the configuration is known."""
    if plugin.type != "bandwidth":
        return None
    from multus.api.invoker import declined
    from multus_invoker_bandwidth.invoker import Bandwidth

    return declined(plugin, KEYS) or Bandwidth()
