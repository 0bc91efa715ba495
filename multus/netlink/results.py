"""Apply a CNI result to a link, and check a link against a result.

`check` compares everything that `apply` sets.  A result may come from IPAM: its addresses and
routes then name no interface.  Or it is an ADD's, and ``at`` is the index of the link in its list
of interfaces::

    results.apply(given, namespace=pod, channel=inside, index=eth0.index, name="eth0")
    results.check(invocation.prev_result, 1, inside)

Source: CNI specification 1.1.0, sections "ADD Success" and "CHECK"; Linux'
Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from multus.api import addresstext
from multus.api.errors import RECREATE, CheckFailed
from multus.netlink import addresses, links, routes, sysctl
from multus.netlink._socket import socket

if TYPE_CHECKING:
    from multus.api.result import Result, Route
    from multus.netlink._channel import Channel
    from multus.netlink._namespace import Namespace
    from multus.netlink.links import Link
    from multus.netlink.wire import Message


def apply(
    result: Result,
    *,
    namespace: Namespace,
    channel: Channel,
    index: int,
    name: str,
    alone: bool = False,
    then: Sequence[Message] = (),
    seconds: float = 5.0,
) -> None:
    """Give the link with this index and name the result's addresses, set it up, add the routes.

    The link is in *namespace*, and *channel* is a channel of that namespace.  The function waits
    up to *seconds* until IPv6 addresses have passed duplicate address detection.  With *alone*, for
    a link where no other host can have them, they are usable at once, and everything is sent as one
    datagram.  The messages of *then* follow the routes.

    A route without a gateway uses its family's gateway (`Result.gateways`).  An identical existing
    route counts as done.  A different route to the same destination stays: the new one precedes it
    (IPv4) or shares the traffic with it (IPv6), as with the reference plugins.

    Raises `Refused` for the first message that the kernel refuses, `KernelRefused` for an address
    that is a duplicate or stays tentative, `InvalidConfig` for an invalid address.  Changes made
    before the error stay until the link is deleted.
    """
    has_ipv6 = any(ip.family == 6 for ip in result.ips)
    if has_ipv6:
        with namespace.entered():
            _allow_ipv6(name)
    messages = [each for ip in result.ips for each in address(index, ip.address, alone=alone)]
    messages.append(links.set_up(index))
    if has_ipv6 and not alone:
        channel.request(messages)
        addresses.settle(channel, index, seconds)
        messages = []
    gateways = result.gateways
    messages += [_route(index, route, gateways) for route in result.routes]
    channel.request([*messages, *then])


def address(index: int, text: str, *, alone: bool = False) -> list[Message]:
    """The messages that give a link one address; *alone* as for `apply`."""
    if alone and ":" in text:
        return addresses.add_settled(index, text)
    return [addresses.add(index, text)]


def _allow_ipv6(name: str) -> None:
    for each in ("lo", name):
        # Without IPv6 in the kernel the file is missing; adding the address then fails.
        sysctl.ensure_if_there(f"ipv6/conf/{each}/disable_ipv6", "0")
    sysctl.ensure_if_there(f"ipv6/conf/{name}/keep_addr_on_down", "1")


def _route(index: int, route: Route, gateways: dict[int, str]) -> Message:
    return routes.add(
        index,
        route.dst,
        gateway=route.gw or gateways.get(route.family, ""),
        scope=route.scope or routes.SCOPE_UNIVERSE,
        table=route.table or routes.TABLE_MAIN,
        priority=route.priority or 0,
        mtu=route.mtu or 0,
        advmss=route.advmss or 0,
        exclusive=False,
        exists_ok=True,
    )


# --- Checking -----------------------------------------------------------------------------------


def check(
    result: Result, at: int, channel: Channel, kind: str = "", *, down_ok: bool = False
) -> Link:
    """Check the link of the result's interface *at* against the result; return the link.

    *channel* is a channel of the interface's namespace.  Compares the kind (when *kind* is given),
    whether it is up (without *down_ok*), the MAC, the addresses, and all routes of the result.
    Raises `CheckFailed` with the first difference.
    """
    interface = result.interfaces[at]
    where = f"interface {interface.name} in {interface.sandbox or 'the host'}"
    link = links.find(channel, interface.name)
    if link is None:
        raise CheckFailed(
            f"{where} is missing",
            fix=RECREATE,
        )
    if kind and link.kind != kind:
        raise CheckFailed(
            f"{where} is of kind {link.kind or 'none'!r}, not {kind}",
            fix=RECREATE,
        )
    if not (link.up or down_ok):
        raise CheckFailed(
            f"{where} is down",
            fix=f"set it up, or {RECREATE}",
        )
    for difference in link_differences(result, at, link, channel):
        raise CheckFailed(
            f"{difference}",
            fix=RECREATE,
        )
    for difference in route_differences(result, channel):
        raise CheckFailed(
            f"{difference} from {interface.sandbox or 'the host'}",
            fix=RECREATE,
        )
    return link


def link_differences(result: Result, at: int, link: Link, channel: Channel) -> Iterator[str]:
    """Differences in MAC and addresses of *link* from the result's interface *at*, as text."""
    interface = result.interfaces[at]
    if interface.mac and interface.mac.lower() != link.mac:
        yield f"{interface.name} has MAC {link.mac}, the record says {interface.mac.lower()}"
    wanted = result.addresses_of(at)
    if not wanted:
        return
    there = {each.address for each in addresses.list_of(channel, link.index)}
    hosts = {each.partition("/")[0] for each in there}
    for ip in wanted:
        if not _is_there(ip.address, there, hosts):
            has = ", ".join(sorted(there)) or "none"
            yield f"{link.name} has no address {ip.address}: it has {has}"


def _is_there(address: str, there: set[str], hosts: set[str]) -> bool:
    """Whether an address is set.

    Earlier releases recorded what ADD refuses now: without a prefix length it is compared without
    one, and other text is not compared.
    """
    if addresstext.is_prefix(address):
        return canonical(address) in there
    return not addresstext.is_address(address) or canonical(address) in hosts


def route_differences(result: Result, channel: Channel) -> Iterator[str]:
    """Routes of the result that are missing in the channel's namespace, as text.

    A key that the result omits is not compared: without a gateway, plugins use the address's;
    without a table, a later plugin may have moved the route into a table of its own.  Nor is a
    destination that ADD refuses now, and earlier releases recorded.
    """
    wanted = [each for each in result.routes if addresstext.is_prefix(each.dst)]
    if not wanted:
        return
    there = [each for each in routes.list_all(channel) if each.kind == routes.UNICAST]
    for route in wanted:
        if not any(_is(route, each) for each in there):
            via = f" via {route.gw}" if route.gw else ""
            table = f" in table {route.table}" if route.table else ""
            yield f"the route to {route.dst}{via}{table} is gone"


def _is(wanted: Route, there: routes.Route) -> bool:
    return (
        addresses.network_of(wanted.dst) == there.destination
        and (not wanted.gw or canonical(wanted.gw) == there.gateway)
        and (not wanted.table or wanted.table == there.table)
        and (not wanted.priority or wanted.priority == there.priority)
    )


def canonical(text: str) -> str:
    """An address as the kernel prints it; a prefix length is kept.

    Raises `InvalidConfig` for an invalid address.
    """
    family, packed, _prefix = addresses.encode(text)
    _host, slash, prefix = text.partition("/")
    return f"{socket.inet_ntop(family, packed)}{slash}{prefix}"
