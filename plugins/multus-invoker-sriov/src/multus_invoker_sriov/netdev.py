"""A VF's interface: into the container's namespace, set up there, and home again.

Moving an interface takes it down and costs the kernel two grace periods, some 20 ms; one message
moves and renames it, so that it is never in the container under the host's name.

Source: net/core/dev.c (``__dev_change_net_namespace``), Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attrs import frozen

from multus.api.errors import InvalidConfig, KernelRefused
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
    """Move the host's interface *name* to the container, as *ifname*; it comes out down."""
    link = host.require(name)
    host.channel.request([links.move(link.index, pod.namespace, ifname)])
    return pod.require(ifname)


def set_up(pod: Place, ifname: str, mac: str, log: Log) -> Link:
    """Give the container's interface its MAC and set it up; returns what it is then."""
    with pod.namespace.entered():
        # They make the kernel tell the link when the interface comes up or its MAC changes, and
        # spare the wait for duplicate address detection; without them it works too, later.
        for name, value in _SYSCTLS:
            try:
                sysctl.write(name.format(ifname), value)
            except KernelRefused as error:
                log.debug("a sysctl that only saves time is not set", error=error)
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
    """Set a MAC until it is so: some drivers take over what the card was told a while later."""
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
        fix="see its driver's log",
    )


def tell(pod: Place, link: Link, result: Result, log: Log) -> None:
    """Tell the link's other hosts that the addresses are here now.

    Another container with another VF may have had them, and neighbours remember its MAC.
    """
    deadline = time.monotonic() + _CARRIER_WAIT
    while not pod.require(link.name).carrier and time.monotonic() < deadline:
        time.sleep(_CARRIER_PAUSE)
    for ip in result.ips:
        try:
            announce(pod.namespace, link.name, link.mac, ip.address)
        except KernelRefused as error:
            log.verbose("neighbours are not told of an address, and find out later", error=error)


def find_in_container(pod: Place, ifname: str, before: Before, mac: str) -> Link | None:
    """The VF's interface in a container: by its name, or (the container may rename it) its MAC."""
    for name in (ifname, before.name):
        link = pod.find(name) if name else None
        if link is not None and may_be(link, before):
            return link
    macs = {each for each in (mac, before.mac) if each}
    every = links.list_all(pod.channel)
    return next((each for each in every if each.mac in macs and may_be(each, before)), None)


def may_be(link: Link, before: Before) -> bool:
    """Whether an interface is of the kind that the VF's is; a real VF's is empty."""
    return link.kind == before.kind


def bring_home(host: Place, pod: Place, link: Link, before: Before, spare: str) -> None:
    """Move an interface from the container to the host, as it was before.

    It is one batch, so that a kill finds it in the one place or in the other.  *spare* is its name
    on the host when its own is taken there.
    """
    # The kernel would move it first and then refuse the name.
    name = before.name if host.find(before.name) is None else spare
    pod.channel.request(
        [
            links.set_down(link.index),
            *_restoring(link, before),
            links.move(link.index, host.namespace, name),
        ]
    )
    restore(host, host.require(name), before)


def restore(host: Place, link: Link, before: Before) -> None:
    """Give an interface that is on the host what it had before."""
    if link.name != before.name and host.find(before.name) is None:
        # Before Linux 6.2 only what is down can be renamed.
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
