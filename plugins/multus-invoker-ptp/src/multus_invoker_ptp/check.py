"""CHECK: compare the attachment with its result.

Source: CNI specification 1.1.0, section "CHECK".  It checks what the reference plugin checks, and
the host's end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus.api.errors import RECREATE, CheckFailed
from multus.api.result import Result
from multus.netlink import addresses, links, routes

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.result import IP
    from multus.netlink import Channel
    from multus.netlink.links import Link


def require_ends(invocation: Invocation, link: Link, host: Channel, inside: Channel) -> None:
    """Raise ``CheckFailed`` with the first difference of routes and of the host's end."""
    result = invocation.prev_result or Result()
    at = next(i for i, each in enumerate(result.interfaces) if each.name == link.name)
    ips = result.addresses_of(at)
    _require_networks(inside, link, ips)
    _require_host_end(host, link, ips)


def _require_networks(inside: Channel, link: Link, ips: list[IP]) -> None:
    """Require the routes to the container's networks, which ptp adds."""
    reached = {route.destination for route in routes.list_all(inside, index=link.index)}
    for ip in ips:
        network = addresses.network_of(ip.address)
        alone = network.endswith("/128" if ip.family == 6 else "/32")
        if not alone and network not in reached:
            raise CheckFailed(
                f"the route to {network} on {link.name} is missing",
                fix=RECREATE,
            )


def _require_host_end(host: Channel, link: Link, ips: list[IP]) -> None:
    near = links.find(host, link.peer)
    if near is None or near.kind != "veth" or near.peer != link.index:
        raise CheckFailed(
            f"the host's end of {link.name} is missing",
            fix=RECREATE,
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
                fix=f"{RECREATE}, or add it",
            )
