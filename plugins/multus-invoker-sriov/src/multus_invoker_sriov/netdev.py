"""Move a VF's interface into the container's namespace, set it up there, and move it back.

One message moves and renames it, so the container never sees it under the host's name.

Source: net/core/dev.c (``__dev_change_net_namespace``), Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attrs import frozen

from multus.api.errors import InvalidConfig, KernelRefused
from multus.inprocess.devices import find_moved, send_home
from multus.netlink import (
    Channel,
    Message,
    Namespace,
    Refused,
    announce,
    links,
    sysctl,
)

if TYPE_CHECKING:
    from multus.api.result import Result
    from multus.log import Log
    from multus.netlink.links import Link
    from multus_invoker_sriov.claims import Before

_ATTEMPTS, _PAUSE = 20, 0.1
_CARRIER_WAIT, _CARRIER_PAUSE = 0.2, 0.01


@frozen
class Place:
    """A namespace and a netlink socket in it."""

    namespace: Namespace
    channel: Channel

    def find(self, name: str) -> Link | None:
        """The interface with this name."""
        return links.find(self.channel, name)

    def require(self, name: str) -> Link:
        """The interface with this name; raises ``KernelRefused`` when there is none."""
        link = self.find(name)
        if link is None:
            raise KernelRefused(f"there is no interface {name!r} in {self.namespace.path}")
        return link


def refuse_taken(pod: Place, ifname: str) -> None:
    """Raise when the container has an interface of that name (CNI 1.1: ADD must fail)."""
    if pod.find(ifname) is not None:
        raise InvalidConfig(
            f"container interface name {ifname!r} already exists in {pod.namespace.path}",
            fix="choose another, or delete the earlier attachment",
        )


def give(host: Place, pod: Place, name: str, ifname: str) -> Link:
    """Move the host's interface *name* to the container as *ifname*; it is down afterwards."""
    link = host.require(name)
    host.channel.request([links.move(link.index, pod.namespace, ifname)])
    return pod.require(ifname)


def set_up(pod: Place, ifname: str, mac: str, log: Log) -> Link:
    """Set the MAC of the container's interface and set it up; returns the interface."""
    with pod.namespace.entered():
        # With these sysctls the kernel announces the address when the interface comes up or its MAC
        # changes, and skips duplicate address detection.  They only save time.
        for name, value in _SYSCTLS:
            try:
                sysctl.write(name.format(ifname), value)
            except KernelRefused as error:
                log.debug("an optional sysctl was not set", error=error)
    if mac:
        _insist_on_mac(pod, ifname, mac)
    pod.channel.request([links.set_up(ifname)])
    return pod.require(ifname)


_SYSCTLS = (
    ("ipv4/conf/{}/arp_notify", "1"),
    ("ipv6/conf/{}/ndisc_notify", "1"),
    ("ipv6/conf/{}/optimistic_dad", "1"),
)


def _insist_on_mac(place: Place, ifname: str, mac: str) -> None:
    """Set a MAC and repeat until it stays: some drivers apply the card's setting with a delay."""
    for attempt in range(_ATTEMPTS):
        if place.require(ifname).mac == mac:
            return
        try:
            place.channel.request([links.set_mac(ifname, mac)])
        except Refused:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_PAUSE)
    raise KernelRefused(
        f"interface {ifname!r} does not keep the MAC {mac}",
        fix="check the log of its driver",
    )


def tell(pod: Place, link: Link, result: Result, log: Log) -> None:
    """Announce the addresses to the other hosts on the link.

    Another container with another VF may have had them, and neighbours have cached its MAC.
    """
    deadline = time.monotonic() + _CARRIER_WAIT
    while not pod.require(link.name).carrier and time.monotonic() < deadline:
        time.sleep(_CARRIER_PAUSE)
    for ip in result.ips:
        try:
            announce(pod.namespace, link.name, link.mac, ip.address)
        except KernelRefused as error:
            log.verbose("an address was not announced: neighbours learn its MAC later", error=error)


def find_in_container(pod: Place, ifname: str, before: Before, mac: str) -> Link | None:
    """Find the VF's interface in a container: by name, or by MAC if the container renamed it."""
    names, macs = filter(None, (ifname, before.name)), {*filter(None, (mac, before.mac))}
    return find_moved(pod.channel, names, macs, before.kind)


def may_be(link: Link, before: Before) -> bool:
    """Whether an interface has the same kind as the VF's; a real VF has kind ""."""
    return link.kind == before.kind


def bring_home(host: Place, pod: Place, link: Link, before: Before, spare: str) -> None:
    """Move an interface from the container to the host, and restore it.

    *spare* is its name on the host when its own is in use there.
    """
    name = before.name if host.find(before.name) is None else spare
    send_home(pod.channel, link, host.namespace, name, _restoring(link, before))
    restore(host, host.require(name), before)


def restore(host: Place, link: Link, before: Before) -> None:
    """Restore an interface that is on the host."""
    if link.name != before.name and host.find(before.name) is None:
        # Before Linux 6.2 an interface can be renamed only while it is down.
        host.channel.request([links.set_down(link.index), links.rename(link.index, before.name)])
        link = host.require(before.name)
    host.channel.request(_restoring(link, before))
    if link.up != before.up:
        up = links.set_up if before.up else links.set_down
        host.channel.request([up(link.index)])


def _restoring(link: Link, before: Before) -> list[Message]:
    messages = []
    if before.mac and link.mac != before.mac:
        messages.append(links.set_mac(link.index, before.mac))
    if before.mtu and link.mtu != before.mtu:
        messages.append(links.set_mtu(link.index, before.mtu))
    return messages
