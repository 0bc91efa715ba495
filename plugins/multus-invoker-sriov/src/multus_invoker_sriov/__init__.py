"""The SR-IOV invoker: gives a container a virtual function of a card, in-process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus import hookimpl

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.invoker import Declined, Invoker
    from multus.api.network import Delegate, Plugin


@hookimpl
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | Declined | None:
    """Offer to execute type ``sriov`` when every key of the configuration is known."""
    if plugin.type != "sriov":
        return None
    from multus.api.invoker import Declined
    from multus_invoker_sriov.conf import KEYS

    unknown = plugin.unknown_keys(KEYS)
    if unknown:
        return Declined("sriov", f"key {unknown[0]!r}")
    from multus_invoker_sriov.invoker import SriovInvoker
    from multus_invoker_sriov.sysfs import Sysfs
    from multus_invoker_sriov.vf import KernelPort

    return SriovInvoker(Sysfs("/sys"), KernelPort())
