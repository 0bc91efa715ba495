"""Whether the kernel has what the journal says: interfaces, MACs, addresses, routes.

A delegate's own CHECK looks at what it made; this looks at what was recorded, also of delegates
that have no CHECK.

Source: CNI specification 1.1.0, section "CHECK".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus.api.errors import CheckFailed, CNIError, failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from multus.api.network import Attachment
    from multus.api.result import Interface, Result, Route
    from multus.netlink import Channel
    from multus.netlink.links import Link
    from multus.state.record import Record


def problems(record: Record, netns: str) -> list[CNIError]:
    """What is not as *record* says, in the namespace at *netns* and on the host.

    A result's interface whose ``sandbox`` is not the path of the ADD is in no namespace that can be
    looked into (a virtual machine's, say), and is left out.
    """
    from multus.netlink import Namespace, NamespaceGone
    from multus.state.journal import netns_identity

    attachments = [each for each in record.attachments() if not each.delegate.disable_check]
    if not any(each.result.interfaces for each in attachments):
        return []
    if record.netns_identity and netns_identity(netns) not in ("", record.netns_identity):
        return [
            CheckFailed(
                f"{netns} is another network namespace than the one that was attached: delete the"
                " container and add it again"
            )
        ]
    try:
        with Namespace(netns) as pod, Namespace.current() as host:
            with pod.channel() as inside, host.channel() as outside:
                return [
                    problem
                    for each in attachments
                    for problem in _of(each, record.request.netns, inside, outside)
                ]
    except NamespaceGone as error:
        return [error.into(CheckFailed)]


def _of(
    attachment: Attachment, netns: str, inside: Channel, outside: Channel
) -> Iterator[CNIError]:
    """What is not as one attachment's result says; what cannot be compared is its error alone."""
    where = f"{attachment.delegate}, interface {attachment.delegate.ifname}"
    try:
        for problem in _differences(attachment, netns, inside, outside):
            yield CheckFailed(problem, where=where)
    except Exception as error:  # noqa: BLE001  results are foreign, and so are names and numbers
        found = failure("comparing its result", error, "see the result in its record")
        yield found.at(where)


def _differences(
    attachment: Attachment, netns: str, inside: Channel, outside: Channel
) -> Iterator[str]:
    from multus.netlink import links

    result = attachment.result
    for index, interface in enumerate(result.interfaces):
        if interface.sandbox not in ("", netns) or not interface.name:
            continue
        link = links.find(inside if interface.sandbox else outside, interface.name)
        if link is None and (interface.pci_id or interface.socket_path):
            # An application may drive the device by itself (DPDK, vhost-user): the kernel has no
            # interface of it then.  The plugin's own CHECK knows.
            continue
        if link is None:
            where = f"the container's namespace {netns}" if interface.sandbox else "the host"
            yield f"interface {interface.name} is gone from {where}"
        elif interface.sandbox:
            yield from _link_differences(interface, link)
            yield from _address_differences(result, index, link, inside)
    if any(interface.sandbox == netns for interface in result.interfaces):
        yield from _route_differences(result, inside)


def _link_differences(interface: Interface, link: Link) -> Iterator[str]:
    if interface.mac and interface.mac.lower() != link.mac:
        yield f"{interface.name} has MAC {link.mac}, recorded is {interface.mac.lower()}"


def _address_differences(result: Result, index: int, link: Link, inside: Channel) -> Iterator[str]:
    from multus.netlink import addresses

    wanted = [ip.address for ip in result.ips if ip.interface == index]
    if not wanted:
        return
    there = {_canonical(each.address) for each in addresses.list_of(inside, link.index)}
    for address in wanted:
        if _canonical(address) not in there:
            yield (
                f"{link.name} has no address {address}: it has {', '.join(sorted(there)) or 'none'}"
            )


def _route_differences(result: Result, inside: Channel) -> Iterator[str]:
    from multus.netlink import routes

    if not result.routes:
        return
    there = [
        (each.destination, each.gateway, each.table, each.priority)
        for each in routes.list_all(inside)
    ]
    for route in result.routes:
        if not any(_is(route, *each) for each in there):
            via = f" via {route.gw}" if route.gw else ""
            table = f" in table {route.table}" if route.table else ""
            yield f"the route to {route.dst}{via}{table} is gone"


def _is(route: Route, destination: str, gateway: str, table: int, priority: int) -> bool:
    # Without a gateway in the result, plugins take the address's; without a table, a later plugin
    # of the chain may have moved the route into one of its own.
    return (
        _network(route.dst) == _network(destination)
        and (not route.gw or _canonical(route.gw) == gateway)
        and (not route.table or route.table == table)
        and (not route.priority or route.priority == priority)
    )


def _canonical(address: str) -> str:
    """An address, with or without prefix length, in the kernel's spelling."""
    import socket

    text, slash, prefix = address.partition("/")
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        return f"{socket.inet_ntop(family, socket.inet_pton(family, text))}{slash}{prefix}"
    except OSError:
        return address


def _network(cidr: str) -> str:
    from multus.netlink.addresses import network_of

    return network_of(cidr)
