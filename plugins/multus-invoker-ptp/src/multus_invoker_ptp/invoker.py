"""The invoker: a veth pair whose ends are routed to each other.

    host                                             container
    veth1234abcd  10.1.2.1/32 ─────────────────────  eth0  10.1.2.3/24
    10.1.2.3/32 dev veth1234abcd scope host          10.1.2.1/32 dev eth0 scope link
                                                     10.1.2.0/24 via 10.1.2.1

A veth cannot be a point-to-point link.  So the container's network is routed through the gateway,
and only the gateway through the link: the kernel's route for the address is deleted.  The host's
end of every pair has the gateway's address.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from multus.api.errors import InvalidConfig
from multus.api.result import DNS, Interface
from multus.inprocess import Job, LinkInvoker, Made, Pair, make_pair
from multus.netlink import Channel, Message, addresses, links, results, routes, sysctl
from multus_invoker_ptp.config import Config

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.result import IP, Result
    from multus.netlink.links import Link


class Ptp(LinkInvoker[Config]):
    """Creates and deletes attachments of type ``ptp``."""

    name = "ptp"
    kind = "veth"
    needs_addresses = True
    may_masquerade = True

    def read(self, invocation: Invocation) -> Config:
        return Config.read(invocation)

    def dns_of(self, config: Config) -> DNS:
        return config.dns

    def require_usable(self, given: Result, config: Config) -> None:
        super().require_usable(given, config)
        for ip in given.ips:
            if not ip.gateway:
                raise InvalidConfig(
                    f"the IPAM plugin returned {ip.address} without a gateway, which is the address"
                    " of the host's end",
                    fix="add 'gateway' to its configuration",
                )

    def create(self, job: Job[Config]) -> Made:
        """Create the pair in three datagrams."""
        pair = make_pair(job, mtu=job.config.mtu)
        _prepare_host(job, pair)
        # IPAM assigns an address once, and no other host is on the link: duplicate address
        # detection, which takes one to two seconds, is not needed.
        job.apply(pair.far, job.given, alone=True, then=_through_gateways(pair.far, job.given.ips))
        job.ends.host.request(_host_end(pair.near, job.given.ips))
        interfaces = (Interface(pair.name, pair.near_mac), job.interface(pair.far_mac))
        return Made(pair.far, interfaces, at=1)

    def require_same(
        self, invocation: Invocation, link: Link, host: Channel, inside: Channel
    ) -> None:
        from multus_invoker_ptp.check import require_ends

        require_ends(invocation, link, host, inside)


def _prepare_host(job: Job[Config], pair: Pair) -> None:
    """Enable forwarding on the host, and ignore router advertisements on its end."""
    families = {ip.family for ip in job.given.ips}
    job.ends.forward(families)
    if 6 in families:
        # No other host is on the link, so the link-local address cannot be a duplicate.  While it
        # is tentative, the host could not resolve the container's MAC.
        sysctl.ensure_if_there(f"ipv6/conf/{pair.name}/accept_dad", "0")
    sysctl.ensure_if_there(f"ipv6/conf/{pair.name}/accept_ra", "0")


def _host_end(index: int, ips: Sequence[IP]) -> list[Message]:
    """The gateways' addresses for the host's end, and the routes to the container."""
    messages: list[Message] = [links.set_up(index)]
    for gateway in dict.fromkeys(ip.gateway for ip in ips):
        messages += results.address(index, _alone(gateway), alone=True)
    for ip in ips:
        host_route = _alone(ip.address.partition("/")[0])
        messages.append(routes.add(index, host_route, scope=routes.SCOPE_HOST, exists_ok=True))
    return messages


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
