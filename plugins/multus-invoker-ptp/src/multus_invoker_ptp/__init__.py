"""The ptp invoker: a veth pair between container and host, without starting a process.

It stands in for the reference plugin ``ptp``: the same links, addresses, routes, rules and result,
so that what one attached the other can check and take down.
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
    """Offer to carry out type ``ptp``, as long as every key of it is known."""
    if plugin.type != "ptp":
        return None
    unknown = plugin.unknown_keys(KEYS)
    if unknown:
        from multus.api.invoker import Declined

        return Declined("ptp", f"key {unknown[0]!r} is not one that the in-process ptp knows")
    from multus_invoker_ptp.invoker import Ptp

    return Ptp()
