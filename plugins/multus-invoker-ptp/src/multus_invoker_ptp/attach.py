"""Create the attachment: one veth pair, in three datagrams.

    host                                             container
    veth1234abcd  10.1.2.1/32 ─────────────────────  eth0  10.1.2.3/24
    10.1.2.3/32 dev veth1234abcd scope host          10.1.2.1/32 dev eth0 scope link
                                                     10.1.2.0/24 via 10.1.2.1

A veth cannot be a point-to-point link.  So the container's network is routed through the gateway,
and only the gateway through the link: the kernel's route for the address is deleted.  The host's
end of every pair has the gateway's address.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from multus.api.errors import InvalidConfig, KernelRefused, attempted
from multus.netlink import (
    Channel,
    Message,
    Namespace,
    Refused,
    Transport,
    addresses,
    create,
    links,
    open_channel,
    results,
    routes,
    sysctl,
)

if TYPE_CHECKING:
    from socket import socket

    from multus.api.network import Invocation
    from multus.api.result import IP, Result

_ATTEMPTS = 10
_ENDS = "multus_invoker_ptp.ends"
_FORWARDING = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}


class Ends(NamedTuple):
    """A channel into each namespace, and the container's namespace.

    ``forwarding`` holds the address families that the host is known to forward.
    """

    host: Channel
    inside: Channel
    pod: Namespace
    forwarding: set[int]


def ends(invocation: Invocation, transport: Callable[[socket], Transport]) -> Ends:
    """The ends for all pairs of this request: opened once, closed with the session."""
    return invocation.session.once(_ENDS, partial(_open, invocation, transport))


def _open(invocation: Invocation, transport: Callable[[socket], Transport]) -> Ends:
    closing = invocation.session.closing
    pod = closing.enter_context(Namespace(invocation.request.netns))
    if pod.is_own():
        raise InvalidConfig(
            f"{pod.path} is the host's own network namespace: a ptp network needs a container with"
            " one of its own"
        )
    host = closing.enter_context(open_channel(transport=transport))
    inside = closing.enter_context(pod.channel(transport=transport))
    return Ends(host, inside, pod, set())


class Pair(NamedTuple):
    """The host's end, called ``name``, is ``near``, the container's ``far``: index and MAC."""

    name: str
    near: int
    far: int
    near_mac: str
    far_mac: str


def make_pair(ends: Ends, invocation: Invocation, mtu: int, undo: ExitStack) -> Pair:
    """Create the pair with the host's end up; push its deletion on *undo*.

    The MACs are set explicitly, because udev may replace one that the kernel chose.
    """
    ifname = invocation.ifname
    for _attempt in range(_ATTEMPTS):
        random = os.urandom(16)
        near_mac, far_mac = links.local_mac(random[:6]), links.local_mac(random[6:12])
        # NetworkManager ignores links whose names start with "veth".
        name = f"veth{random[12:].hex()}"
        made = create.veth(
            name,
            ifname,
            peer_namespace=ends.pod,
            mtu=mtu,
            mac=near_mac,
            peer_mac=far_mac,
            up=True,
        )
        with ExitStack() as mine:
            gone = [links.delete(name, missing_ok=True)]
            mine.callback(take_back, invocation, ends.host.request, gone)
            try:
                replies = ends.host.request([made, links.get(name)])
            except Refused as error:
                if error.message is not made or error.errno != errno.EEXIST:
                    raise
                mine.pop_all()  # this ADD created nothing
                _require_free(ends, ifname)
                continue
            undo.push(mine.pop_all())
            return Pair(name, *links.read_indexes(replies[1]), near_mac, far_mac)
    raise KernelRefused(
        f"no free name for a veth in {_ATTEMPTS} attempts",
        fix="try again",
    )


def take_back(invocation: Invocation, step: Callable[..., object], *args: object) -> None:
    """Undo one step of a failed ADD.

    An error is only logged: the answer is ADD's own error, and the following DEL tries again.
    """
    error = attempted("invoker 'ptp'", step, *args)
    if error is not None:
        invocation.log.error(f"{invocation}: a step could not be undone", error=error)


def _require_free(ends: Ends, ifname: str) -> None:
    if links.find(ends.inside, ifname) is not None:
        raise KernelRefused(
            f"interface {ifname} exists already in {ends.pod.path}",
            fix="give the network another interface name, or delete the earlier attachment",
        )


def configure_container(ends: Ends, index: int, ifname: str, given: Result) -> None:
    """Set the container's end up with its addresses and routes."""
    # IPAM assigns an address once, and no other host is on the link: duplicate address detection,
    # which takes one to two seconds, is not needed.
    results.apply(
        given,
        namespace=ends.pod,
        channel=ends.inside,
        index=index,
        name=ifname,
        alone=True,
        then=_through_gateways(index, given.ips),
    )


def configure_host(host: Channel, index: int, ips: Sequence[IP]) -> None:
    """Give the host's end the gateways' addresses, and the host the routes to the container."""
    messages: list[Message] = []
    for gateway in dict.fromkeys(ip.gateway for ip in ips):
        messages += results.address(index, _alone(gateway), alone=True)
    for ip in ips:
        host_route = _alone(ip.address.partition("/")[0])
        messages.append(routes.add(index, host_route, scope=routes.SCOPE_HOST, exists_ok=True))
    host.request(messages)


def prepare_host(ends: Ends, name: str, families: frozenset[int]) -> None:
    """Enable forwarding on the host, and ignore router advertisements on the link *name*."""
    for family in families - ends.forwarding:
        sysctl.ensure(_FORWARDING[family], "1")
        ends.forwarding.add(family)
    if 6 in families:
        # No other host is on the link, so the link-local address cannot be a duplicate.  While it
        # is tentative, the host could not resolve the container's MAC.
        sysctl.ensure_if_there(f"ipv6/conf/{name}/accept_dad", "0")
    sysctl.ensure_if_there(f"ipv6/conf/{name}/accept_ra", "0")


def require_usable(result: Result) -> None:
    """Raise when the addresses of IPAM are not sufficient for a pair."""
    if not result.ips:
        raise InvalidConfig("the IPAM plugin returned no address: ptp needs one")
    for ip in result.ips:
        if not ip.gateway:
            raise InvalidConfig(
                f"the IPAM plugin returned {ip.address} without a gateway, which is the address of"
                " the host's end",
                fix="add 'gateway' to its configuration",
            )


def _through_gateways(index: int, ips: Sequence[IP]) -> list[Message]:
    """The container's routes to its networks; addresses may share them."""
    messages: dict[str, Message] = {}
    for ip in ips:
        source, network = ip.address.partition("/")[0], addresses.network_of(ip.address)
        gateway = _alone(ip.gateway)
        alone = network == _alone(source)
        if not alone and network not in messages:
            messages[f"from the kernel {network}"] = routes.delete(index, network)
        if gateway not in messages:
            messages[gateway] = routes.add(index, gateway, source=source, scope=routes.SCOPE_LINK)
        if not alone and network not in messages:
            messages[network] = routes.add(index, network, gateway=ip.gateway, source=source)
    return list(messages.values())


def _alone(address: str) -> str:
    return f"{address}/128" if ":" in address else f"{address}/32"
