"""CHECK: whether the attachment is as its result says.

Source: CNI specification 1.1.0, section "CHECK"; what is looked at is what the reference looks at,
and the host's end beside it.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from multus.api.errors import CheckFailed, InvalidConfig
from multus.netlink import Channel, Namespace, addresses, links, open_channel, routes

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.result import IP, Interface, Result, Route
    from multus.netlink.links import Link

_RTN_UNICAST = 1
_REMEDY = "delete the container and create it again"


def require_attached(invocation: Invocation) -> None:
    """Raise ``CheckFailed`` with the first thing that is not so."""
    result = invocation.prev_result
    if result is None:
        raise InvalidConfig(f"{invocation}: CHECK needs 'prevResult', the result of ADD")
    netns = invocation.request.netns
    recorded, at = _recorded(invocation, result)
    with Namespace(netns) as pod, pod.channel() as inside, open_channel() as host:
        link = _require_link(inside, recorded)
        ips = [ip for ip in result.ips if ip.interface in (None, at)]
        _require_addresses(inside, link, ips)
        known = [each for each in routes.list_all(inside) if each.kind == _RTN_UNICAST]
        _require_networks(known, link, ips)
        for route in result.routes:
            _require_route(known, route, netns)
        _require_host_end(host, link, ips)


def _recorded(invocation: Invocation, result: Result) -> tuple[Interface, int]:
    for at, interface in enumerate(result.interfaces):
        if (interface.name, interface.sandbox) == (invocation.ifname, invocation.request.netns):
            return interface, at
    raise CheckFailed(
        f"'prevResult' has no interface {invocation.ifname} in {invocation.request.netns}:"
        " the container's network namespace is not the one of its ADD",
        fix=f"{_REMEDY}",
    )


def _require_link(inside: Channel, recorded: Interface) -> Link:
    where = f"interface {recorded.name} in {recorded.sandbox}"
    link = links.find(inside, recorded.name)
    if link is None:
        raise CheckFailed(
            f"{where} is missing",
            fix=f"{_REMEDY}",
        )
    if link.kind != "veth":
        raise CheckFailed(
            f"{where} is of kind {link.kind or 'none'!r}, not veth",
            fix=f"{_REMEDY}",
        )
    if recorded.mac and recorded.mac.lower() != link.mac:
        raise CheckFailed(
            f"{where} has the MAC {link.mac}, not {recorded.mac}",
            fix=f"{_REMEDY}",
        )
    return link


def _require_addresses(inside: Channel, link: Link, ips: list[IP]) -> None:
    present = {each.address for each in addresses.list_of(inside, link.index)}
    for ip in ips:
        if _canonical(ip.address) not in present:
            raise CheckFailed(
                f"address {ip.address} is missing on {link.name}",
                fix=f"{_REMEDY}",
            )


def _require_networks(known: list[routes.Route], link: Link, ips: list[IP]) -> None:
    reached = {route.destination for route in known if route.index == link.index}
    for ip in ips:
        network = addresses.network_of(ip.address)
        alone = network.endswith("/128" if ip.family == 6 else "/32")
        if not alone and network not in reached:
            raise CheckFailed(
                f"the route to {network} on {link.name} is missing",
                fix=f"{_REMEDY}",
            )


def _require_route(known: list[routes.Route], wanted: Route, netns: str) -> None:
    destination = addresses.network_of(wanted.dst)
    gateway = _canonical(wanted.gw)
    for route in known:
        if route.destination != destination or (gateway and route.gateway != gateway):
            continue
        if wanted.table is None or route.table == wanted.table:
            return
    via = f" via {wanted.gw}" if wanted.gw else ""
    raise CheckFailed(
        f"the route to {wanted.dst}{via} is missing in {netns}",
        fix=f"{_REMEDY}",
    )


def _require_host_end(host: Channel, link: Link, ips: list[IP]) -> None:
    near = links.find(host, link.peer)
    if near is None or near.kind != "veth" or near.peer != link.index:
        raise CheckFailed(
            f"the host's end of {link.name} is missing",
            fix=f"{_REMEDY}",
        )
    if not near.up:
        raise CheckFailed(
            f"{near.name}, the host's end of {link.name}, is down",
            fix="set it up",
        )
    reached = {each.destination for each in routes.list_all(host, index=near.index)}
    for ip in ips:
        alone = addresses.network_of(ip.address.partition("/")[0])
        if alone not in reached:
            raise CheckFailed(
                f"the host's route to {alone} on {near.name} is missing",
                fix=f"{_REMEDY}, or add it",
            )


def _canonical(address: str) -> str:
    """The address as the kernel prints it, prefix kept; "" for none."""
    if not address:
        return ""
    family, packed, _prefix = addresses.encode(address)
    _host, slash, prefix = address.partition("/")
    return f"{socket.inet_ntop(family, packed)}{slash}{prefix}"
