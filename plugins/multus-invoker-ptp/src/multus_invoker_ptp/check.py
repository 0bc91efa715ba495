"""CHECK: compare the attachment with its result.

Source: CNI specification 1.1.0, section "CHECK".  It checks what the reference plugin checks, and
the host's end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus.api.errors import CheckFailed, InvalidConfig
from multus.netlink import Channel, Namespace, addresses, links, open_channel, results, routes

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.result import IP, Result
    from multus.netlink.links import Link

_REMEDY = "delete the container and create it again"


def require_attached(invocation: Invocation) -> None:
    """Raise ``CheckFailed`` with the first difference."""
    result = invocation.prev_result
    if result is None:
        raise InvalidConfig(f"{invocation}: CHECK needs 'prevResult', the result of ADD")
    at = _recorded(invocation, result)
    with (
        Namespace(invocation.request.netns) as pod,
        pod.channel() as inside,
        open_channel() as host,
    ):
        link = results.check(result, at, inside, kind="veth")
        ips = result.addresses_of(at)
        _require_networks(inside, link, ips)
        _require_host_end(host, link, ips)


def _recorded(invocation: Invocation, result: Result) -> int:
    """The index of the container's end in the result."""
    for at, interface in enumerate(result.interfaces):
        if (interface.name, interface.sandbox) == (invocation.ifname, invocation.request.netns):
            return at
    raise CheckFailed(
        f"'prevResult' has no interface {invocation.ifname} in {invocation.request.netns}:"
        " the container's network namespace is not the one of its ADD",
        fix=f"{_REMEDY}",
    )


def _require_networks(inside: Channel, link: Link, ips: list[IP]) -> None:
    """Require the routes to the container's networks, which ptp adds."""
    reached = {route.destination for route in routes.list_all(inside, index=link.index)}
    for ip in ips:
        network = addresses.network_of(ip.address)
        alone = network.endswith("/128" if ip.family == 6 else "/32")
        if not alone and network not in reached:
            raise CheckFailed(
                f"the route to {network} on {link.name} is missing",
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
