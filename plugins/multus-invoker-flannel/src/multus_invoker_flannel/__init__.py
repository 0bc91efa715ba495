"""The flannel invoker: networks of flannel, without starting a process.

It replaces the CNI plugin ``flannel``: the same configuration for the plugin that it delegates to,
kept in the same files, so either can delete what the other added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus import hookimpl

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.invoker import Declined, Invoker
    from multus.api.network import Delegate, Plugin

#: The keys of a ``flannel`` configuration that are served here; with any other, the binary is run.
#: ``isDefaultGateway`` belongs into ``delegate``; beside it, flannel ignores it.
KEYS = frozenset({"dataDir", "delegate", "ipam", "isDefaultGateway", "subnetFile"})


@hookimpl
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | Declined | None:
    """Offer to execute type ``flannel`` when every key of the configuration is known."""
    if plugin.type != "flannel":
        return None
    from multus.api.invoker import declined, elsewhere
    from multus_invoker_flannel.invoker import Flannel, no_lease
    from multus_invoker_flannel.store import FOLDER

    no = declined(plugin, KEYS) or no_lease(plugin, delegate)
    return no or elsewhere(plugin, delegate, conf, {"dataDir": FOLDER}) or Flannel()
