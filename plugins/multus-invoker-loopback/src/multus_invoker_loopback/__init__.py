"""The loopback invoker: the container's ``lo``, without starting a process.

It replaces the reference plugin ``loopback``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus import hookimpl

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.invoker import Declined, Invoker
    from multus.api.network import Delegate, Plugin

#: The keys of a ``loopback`` configuration that are served here, and have no effect.
KEYS = frozenset({"dns", "ipam"})


@hookimpl
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | Declined | None:
    """Offer to execute type ``loopback`` when every key of the configuration is known."""
    if plugin.type != "loopback":
        return None
    from multus.api.invoker import declined
    from multus_invoker_loopback.invoker import Loopback

    return declined(plugin, KEYS) or Loopback()
