"""The host-device invoker: an interface of the host moves to a container, without a process.

It replaces the reference plugin ``host-device``: the interface's name on the host is its alias in
the container, so either can return what the other moved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus import hookimpl

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.invoker import Declined, Invoker
    from multus.api.network import Delegate, Plugin

#: The keys of a ``host-device`` configuration that are served here; with any other, the binary is
#: run.
KEYS = frozenset({"device", "dns", "hwaddr", "ipam", "kernelpath", "pciBusID"})


@hookimpl
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | Declined | None:
    """Offer to execute type ``host-device`` when every key of the configuration is known."""
    if plugin.type != "host-device":
        return None
    from multus.api.invoker import declined
    from multus_invoker_host_device.invoker import HostDevice

    return declined(plugin, KEYS) or HostDevice()
