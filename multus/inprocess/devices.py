"""Interfaces of the host that a container gets: found by their device, moved there and back.

Moving an interface takes two RCU grace periods, some 20 ms.  It is down afterwards, and has lost
its addresses.

Source: net/core/dev.c (``__dev_change_net_namespace``); Documentation/ABI/testing/sysfs-class-net.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from multus.netlink import links

if TYPE_CHECKING:
    from multus.netlink import Channel, Message, Namespace
    from multus.netlink.links import Link

#: Drivers whose devices have no interface in the kernel.
USERSPACE_DRIVERS = ("vfio-pci", "uio_pci_generic", "igb_uio")

#: How long the kernel may take to return the interfaces of a namespace that is gone, in seconds.
RETURN, RETURN_PAUSE = 1.0, 0.02


@frozen
class Devices:
    """The devices in sysfs, mounted at *root*."""

    root: str = "/sys"

    def interfaces(self, pci: str) -> list[str]:
        """The names of a PCI device's interfaces; empty when they are in another namespace."""
        return self.names(f"{self.pci(pci)}/net")

    def driver(self, pci: str) -> str:
        """The driver that a PCI device is bound to; empty for none."""
        try:
            return os.path.basename(os.readlink(f"{self.pci(pci)}/driver"))
        except OSError:
            return ""

    def pci(self, address: str) -> str:
        """The folder of the PCI device with this address."""
        return f"{self.root}/bus/pci/devices/{address}"

    def auxiliary(self, name: str) -> str:
        """The folder of the device with this name on the auxiliary bus."""
        return f"{self.root}/bus/auxiliary/devices/{name}"

    @staticmethod
    def names(folder: str) -> list[str]:
        """What is in a folder, sorted; empty without the folder: the device is gone."""
        try:
            return sorted(os.listdir(folder))
        except OSError:
            return []


def find_moved(
    inside: Channel, names: Iterable[str], macs: Collection[str], kind: str | None = None
) -> Link | None:
    """An interface that was moved into a container, by its name and its MAC.

    When the container renamed it, the MAC decides: another interface may have the name now.  Only
    when none has the MAC, it is the one with the name: the container may have set another MAC.
    With *kind*, it has this kind; a real device has kind "".
    """

    def may_be(link: Link) -> bool:
        return kind is None or link.kind == kind

    named = [link for name in names if (link := links.find(inside, name)) and may_be(link)]
    found = next((each for each in named if not macs or each.mac in macs), None)
    if found is None and macs:
        every = links.list_all(inside)
        found = next((each for each in every if each.mac in macs and may_be(each)), None)
    return found or next(iter(named), None)


def send_home(
    inside: Channel, link: Link, host: Namespace, name: str, first: Sequence[Message] = ()
) -> None:
    """Move an interface from a container to the *host* under *name*, after the messages *first*.

    It is one batch: after a kill the interface is in the container or on the host.  The name must
    be free on the host: the kernel would move the interface and then refuse the name.
    """
    inside.request([links.set_down(link.index), *first, links.move(link.index, host, name)])
