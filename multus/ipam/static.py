"""static in-process: the addresses that the configuration or the runtime names.

Source: the reference static plugin, ``plugins/ipam/static/README.md``.  CHECK is stricter: an
address that the result does not hold fails it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from multus.api.errors import CheckFailed, InvalidConfig
from multus.api.reader import Reader
from multus.api.result import DNS, Result
from multus.ipam.addresses import Address, Network
from multus.ipam.base import (
    MOST_ADDRESSES,
    Ipam,
    arguments,
    interface_ip,
    read_routes,
    reader_of,
    requested,
    require_few,
    require_one_per_family,
)

if TYPE_CHECKING:
    from multus.api.network import Invocation

#: The keys of ``ipam`` that are served in-process.
KEYS = frozenset(["type", "name", "addresses", "routes", "dns"])


@frozen
class Fixed:
    """An address to be had, with its gateway."""

    network: Network
    gateway: Address | None = None


@frozen
class Static(Ipam):
    """The static IPAM of one invocation; it holds nothing, so there is nothing to give back."""

    invocation: Invocation
    name = "static"

    def add(self) -> Result:
        reader = reader_of(self.invocation)
        ips = [
            interface_ip(each.network.address, each.network.prefix, each.gateway)
            for each in self._addresses()
        ]
        dns = Reader(reader.mapping("dns"), f"{reader.where}: dns")
        return Result(
            ips=tuple(ips),
            routes=read_routes(reader),
            dns=DNS(
                nameservers=tuple(dns.texts("nameservers")),
                domain=dns.text("domain"),
                search=tuple(dns.texts("search")),
                options=tuple(dns.texts("options")),
            ),
        )

    def check(self) -> None:
        previous = self.invocation.prev_result
        if previous is None:
            raise InvalidConfig(f"{reader_of(self.invocation).where}: CHECK needs 'prevResult'")
        reported = {ip.address.partition("/")[0]: ip.gateway for ip in previous.ips}
        for each in self._addresses():
            address = str(each.network.address)
            wanted = str(each.gateway) if each.gateway else None
            if address not in reported or wanted not in (None, reported[address]):
                raise CheckFailed(
                    f"{reader_of(self.invocation).where}: address {address} (gateway"
                    f" {wanted or 'any'}) is not what ADD reported on interface"
                    f" {self.invocation.ifname}",
                    fix="delete the container and create it again",
                )

    def status(self) -> None:
        self._addresses()

    def _addresses(self) -> list[Fixed]:
        """What is configured and CNI_ARGS adds; ``ips`` of args, then of runtimeConfig, win."""
        by_env = arguments(self.invocation, "IP", "GATEWAY")
        by_args, by_runtime = requested(self.invocation)
        if by_runtime or by_args:
            fixed = [Fixed(self._network(text, "'ips'")) for text in by_runtime or by_args]
        else:
            fixed = [*self._configured(), *self._from_environment(by_env)]
        require_one_per_family([each.network.address.family for each in fixed], self.invocation)
        return fixed

    def _configured(self) -> list[Fixed]:
        reader = reader_of(self.invocation)
        require_few(reader, "addresses", len(reader.sequence("addresses")), MOST_ADDRESSES)
        fixed = []
        for index, raw in enumerate(reader.mappings("addresses")):
            each = Reader(raw, f"{reader.where}: addresses[{index}]")
            fixed.append(
                Fixed(
                    self._network(each.text("address"), "'address'"),
                    self._gateway(each.text("gateway")) if each.text("gateway") else None,
                )
            )
        return fixed

    def _from_environment(self, given: dict[str, str]) -> list[Fixed]:
        texts = given["IP"].split(",") if "IP" in given else []
        fixed = [Fixed(self._network(text.strip(), "CNI_ARGS 'IP'")) for text in texts]
        for text in given["GATEWAY"].split(",") if "GATEWAY" in given else []:
            gateway = self._gateway(text.strip())
            fixed = [evolve(f, gateway=gateway) if gateway in f.network else f for f in fixed]
        return fixed

    def _network(self, text: str, key: str) -> Network:
        network = Network.parse(text)
        if network is None:
            raise InvalidConfig(
                f"{reader_of(self.invocation).where}: {key} is expected to be in CIDR notation,"
                f" got: {text!r}",
                fix="write it as 10.1.0.7/24",
            )
        return network

    def _gateway(self, text: str) -> Address:
        gateway = Address.parse(text)
        if gateway is None:
            raise InvalidConfig(
                f"{reader_of(self.invocation).where}: invalid gateway address: {text!r}",
                fix="correct it",
            )
        return gateway
