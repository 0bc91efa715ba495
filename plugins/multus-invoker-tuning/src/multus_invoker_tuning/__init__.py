"""The tuning invoker: sysctls and options of an interface, without starting a process.

It replaces the reference plugin ``tuning``: the same settings and the same backup of those that it
changes, so either can check and restore what the other set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus import hookimpl

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.invoker import Declined, Invoker
    from multus.api.network import Delegate, Plugin

#: The keys of a ``tuning`` configuration that are served here; with any other, the binary is run.
KEYS = frozenset({"allmulti", "dataDir", "dns", "mac", "mtu", "promisc", "sysctl", "txQLen"})


@hookimpl
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | Declined | None:
    """Offer to execute type ``tuning`` when every key is known, and a path is the node's."""
    if plugin.type != "tuning":
        return None
    from multus.api.invoker import declined, elsewhere
    from multus_invoker_tuning.config import FOLDER
    from multus_invoker_tuning.invoker import Tuning

    no = declined(plugin, KEYS) or elsewhere(plugin, delegate, conf, {"dataDir": FOLDER})
    return no or Tuning()
