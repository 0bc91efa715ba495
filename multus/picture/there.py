"""What the kernel has: the links of a namespace, and the card of a virtual function.

It is read as calls read it, by ``multus.netlink``: by pyroute2 it takes ten times as long, and a
node may have hundreds of namespaces.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from attrs import field, frozen

from multus.netlink import Channel, Namespace, addresses, links

if TYPE_CHECKING:
    from multus.netlink.links import Link

#: Addresses that the kernel gives each link by itself.
_AUTOMATIC = re.compile(r"fe80:|127\.|::1/")
_VIRTUAL = re.compile(r"virtfn([0-9]+)")


@frozen
class There:
    """The links of a namespace by index, and the addresses of each, in CIDR form.

    ``host`` is the kernel's id of the node's namespace, seen from this one; None when it has none.
    """

    links: Mapping[int, Link] = field(factory=dict)
    addresses: Mapping[int, tuple[str, ...]] = field(factory=dict)
    host: int | None = None

    @classmethod
    def of(cls, channel: Channel, host: Namespace | None = None) -> There:
        """What is in the channel's namespace now; *host* is the node's.  Raises ``CNIError``."""
        return cls(
            {link.index: link for link in links.list_all(channel)},
            _addresses(channel),
            host.id_in(channel) if host else None,
        )

    def named(self, name: str) -> Link | None:
        """The link with this name."""
        return next((each for each in self.links.values() if each.name == name), None)


class Card(NamedTuple):
    """Where a virtual function belongs: its physical function's interface, and its number."""

    physical: str
    number: int


def card_of(device: str, folder: str) -> Card | None:
    """The card of the virtual function *device*, a PCI address; None for another device.

    *folder* is sysfs' folder of PCI devices.
    """
    here = os.path.join(folder, os.path.basename(device))
    physical = f"{glob.escape(here)}/physfn"
    names = sorted(os.path.basename(each) for each in glob.glob(f"{physical}/net/*"))
    for link in glob.glob(f"{physical}/virtfn*"):
        number = _VIRTUAL.fullmatch(os.path.basename(link))
        if number and names and os.path.realpath(link) == os.path.realpath(here):
            return Card(names[0], int(number[1]))
    return None


def _addresses(channel: Channel) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for each in addresses.list_of(channel):
        if not _AUTOMATIC.match(each.address):
            found[each.index] = (*found.get(each.index, ()), each.address)
    return found
