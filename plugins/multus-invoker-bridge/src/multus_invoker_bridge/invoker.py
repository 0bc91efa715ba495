"""The invoker: the bridge, one port for each container, and the gateway's addresses.

host                                             container
cni0  10.1.2.1/24 ── veth1234abcd ─────────────  eth0  10.1.2.3/24
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.result import EVERYWHERE, Interface, Route
from multus.inprocess import Job, LinkInvoker, Made, Pair, make_pair
from multus.ipam.addresses import Network
from multus.netlink import Channel, bridges, sysctl
from multus.netlink.bridges import Vlans
from multus_invoker_bridge import host, spoofing
from multus_invoker_bridge.config import Config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multus.api.network import Invocation
    from multus.api.result import DNS, IP, Result
    from multus.netlink.links import Link


class Bridge(LinkInvoker[Config]):
    """Creates and deletes attachments of type ``bridge``; a bridge stays."""

    name = "bridge"
    kind = "veth"
    may_masquerade = True

    def read(self, invocation: Invocation) -> Config:
        return Config.read(invocation)

    def dns_of(self, config: Config) -> DNS:
        return config.dns

    def leaves_down(self, config: Config) -> bool:
        return config.down

    def create(self, job: Job[Config]) -> Made:
        config = job.config
        bridge = host.ensure_bridge(job.ends.host, config)
        # Duplicates are detected over a link that is up at both ends.
        up = config.detect_duplicates
        pair = make_pair(job, mtu=config.mtu, mac=config.mac, master=bridge.index, up=up)
        _set_port(job, pair)
        if config.only_own_mac:
            spoofing.guard(job, pair)
        if config.gateway:
            job.given = evolve(job.given, ips=tuple(map(_with_gateway, job.given.ips)))
        if config.default_gateway:
            job.given = evolve(job.given, routes=_with_default(job.given))
        _set_up(job, pair)
        more = [host.give_gateways(job, bridge)] if config.gateway and job.given.ips else []
        mac = host.wait_for_port(job, pair, bridge)
        return Made(
            pair.far,
            (
                Interface(config.bridge, mac),
                Interface(pair.name, pair.near_mac),
                job.interface(pair.far_mac),
                *filter(None, more),
            ),
            at=2,
        )

    def remove_rules(self, invocations: Sequence[Invocation]) -> None:
        guarded = [each for each in invocations if spoofing.may_guard(each)]
        try:
            if guarded:
                spoofing.remove(guarded)
        finally:
            super().remove_rules(invocations)

    def collect_rules(self, invocation: Invocation) -> None:
        try:
            if spoofing.may_guard(invocation):
                spoofing.collect()
        finally:
            super().collect_rules(invocation)

    def require_same(
        self, invocation: Invocation, link: Link, host: Channel, inside: Channel
    ) -> None:
        from multus_invoker_bridge.check import require_port

        require_port(Config.read(invocation), invocation, link, host)


def _set_up(job: Job[Config], pair: Pair) -> None:
    """Set the container's interface up, with its addresses and routes."""
    config = job.config
    if config.down:
        return
    if job.given.ips:
        with job.ends.pod.entered():
            accept = "1" if config.detect_duplicates else "0"
            sysctl.ensure_if_there(f"ipv6/conf/{job.ifname}/accept_dad", accept)
            sysctl.ensure_if_there(f"ipv4/conf/{job.ifname}/arp_notify", "1")
    job.apply(pair.far, job.given, alone=not config.detect_duplicates)


def _set_port(job: Job[Config], pair: Pair) -> None:
    config, port = job.config, pair.near
    messages = []
    if config.hairpin or config.isolated:
        messages.append(bridges.set_port(port, hairpin=config.hairpin, isolated=config.isolated))
    if config.tags:
        if not config.keep_default:
            now = next(each for each in bridges.list_ports(job.ends.host) if each.index == port)
            if now.vlans:
                messages.append(bridges.delete_vlans(port, now.vlans))
        untagged = config.vlan or 1
        messages.append(bridges.add_vlans(port, [Vlans(untagged, pvid=True, untagged=True)]))
        if config.trunk:
            messages.append(bridges.add_vlans(port, config.trunk))
    job.ends.host.request(messages)


def _with_gateway(ip: IP) -> IP:
    """The address, with the first one of its network as the gateway when it has none."""
    if ip.gateway:
        return ip
    network = Network.parse(ip.address)
    assert network is not None  # IPAM gave it
    return evolve(ip, gateway=str(network.first))


def _with_default(given: Result) -> tuple[Route, ...]:
    """The routes, with a default route by the gateway for each family that has none."""
    routes = list(given.routes)
    for ip in given.ips:
        everywhere = EVERYWHERE[ip.family]
        if not any(each.gw and each.dst == everywhere for each in routes):
            routes.append(Route(everywhere, ip.gateway))
    return tuple(routes)
