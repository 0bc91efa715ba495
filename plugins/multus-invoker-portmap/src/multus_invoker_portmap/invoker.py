"""The invoker: rules for the container's ports, and what else they need to work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from multus.api.errors import RECREATE, CheckFailed, CNIError, KernelRefused, NotAvailable
from multus.inprocess import Chained
from multus.netlink import (
    conntrack,
    iptables,
    links,
    nftables,
    open_channel,
    routes,
    sysctl,
)
from multus_invoker_portmap import by_iptables, by_nftables
from multus_invoker_portmap.config import PORTS, Config, requested

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from multus.api.network import Invocation
    from multus.api.result import Result


class Portmap(Chained):
    """Maps ports of the host to those of a container that an earlier plugin attached.

    Without mappings it does nothing.
    """

    name = "portmap"

    def prepare(self, invocation: Invocation) -> None:
        config = Config.read(invocation)
        if config.forwards:
            _require_usable(config)

    def add(self, invocation: Invocation) -> Result:
        config, before = Config.read(invocation), self.previous(invocation)
        if not config.forwards:
            return before
        targets = self._targets(before, invocation)
        if config.backend == "nftables":
            by_nftables.add(config, targets, self._transport)
        else:
            for version, address in targets.items():
                by_iptables.add(config, version, address, iptables.Programs.of(invocation))
        self._forget_udp(invocation)
        if config.snat and 4 in targets:
            self._route_localnet(targets[4].partition("/")[0])
        return before

    def delete_one(self, invocation: Invocation) -> None:
        if not requested(invocation):
            return
        # The backend may have been another one at ADD.
        steps = (self._remove_iptables, self._remove_nftables, self._forget_udp)
        errors = [self.attempted(step, invocation) for step in steps]
        for error in filter(None, errors):
            raise error

    def check(self, invocation: Invocation) -> None:
        config, before = Config.read(invocation), self.previous(invocation)
        if not config.forwards:
            return
        for version, address in self._targets(before, invocation).items():
            if config.backend == "nftables":
                chain = by_nftables.missing(config, version)
                if chain:
                    raise CheckFailed(f"chain {chain} lacks rules of the container", fix=RECREATE)
                continue
            try:
                by_iptables.check(config, version, address, iptables.Programs.of(invocation))
            except KernelRefused as error:
                raise CheckFailed(
                    f"a rule of iptables for the container's IPv{version} ports is missing",
                    fix=RECREATE,
                ) from error

    def status(self, invocation: Invocation) -> None:
        _require_usable(Config.read(invocation))

    def gc(self, invocation: Invocation) -> None:
        # Rules of nftables do not say which network they are of.
        containers = {each["containerID"] for each in invocation.valid_attachments}
        programs = iptables.Programs.of(invocation)
        by_iptables.collect(str(invocation.config["name"]), containers, programs)

    def _targets(self, result: Result, invocation: Invocation) -> dict[int, str]:
        """The container's first address of each family (4 and 6), with prefix."""
        found: dict[int, str] = {}
        for ip in self.addresses(invocation, result):
            found.setdefault(ip.family, ip.address)
        return dict(sorted(found.items()))

    def _remove_iptables(self, invocation: Invocation) -> None:
        network, container = str(invocation.config["name"]), invocation.request.container_id
        by_iptables.remove(network, container, iptables.Programs.of(invocation))

    def _remove_nftables(self, invocation: Invocation) -> None:
        before = invocation.prev_result
        targets = {} if before is None else self._targets(before, invocation)
        addresses = [each.partition("/")[0] for each in targets.values()]
        by_nftables.remove(invocation.request.container_id, addresses, self._transport)

    def _forget_udp(self, invocation: Invocation) -> None:
        """Let UDP clients that send all the time be translated by the new rules, or no more."""
        ports = set(_udp_ports(requested(invocation)))
        if not ports:
            return
        try:
            with nftables.channel(self._transport) as channel:
                conntrack.forget_udp(channel, ports)
        except CNIError as error:
            # As with the reference plugin: the rules are there, and most clients are new.
            invocation.log.error(
                f"{invocation}: old UDP connections are not forgotten", error=error
            )

    def _route_localnet(self, address: str) -> None:
        """Let packets of the host's loopback leave by the container's interface on the host."""
        with open_channel(transport=self._transport) as host:
            route = routes.find_to(host, address)
            link = None if route is None else links.find(host, route.index)
        if link is not None:
            sysctl.ensure(f"ipv4/conf/{link.name}/route_localnet", "1")


def _udp_ports(mappings: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    for each in mappings:
        port = each.get("hostPort")
        if str(each.get("protocol")).lower() == "udp" and type(port) is int and port in PORTS:
            yield port


def _require_usable(config: Config) -> None:
    if config.backend == "iptables" and not iptables.installed():
        raise NotAvailable(
            "'backend' is iptables, which is not installed", fix="install it, or use nftables"
        )
