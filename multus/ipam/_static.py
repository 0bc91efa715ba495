"""static in-process: the addresses that the configuration or the runtime names.

Source: the reference static plugin, ``plugins/ipam/static/README.md``.  CHECK is stricter: it fails
when the result lacks an address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from multus.api.errors import RECREATE, CheckFailed, InvalidConfig
from multus.api.ipam import Ipam
from multus.api.reader import Reader
from multus.api.result import Result
from multus.api.where import within
from multus.ipam import dns
from multus.ipam.addresses import Address, Network
from multus.ipam.settings import (
    MOST_ADDRESSES,
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
    """A configured address with its gateway."""

    network: Network
    gateway: Address | None = None


@frozen
class Static(Ipam):
    """The static IPAM of one invocation; it keeps no state, so DEL has nothing to free."""

    invocation: Invocation
    name = "static"

    def add(self) -> Result:
        reader = reader_of(self.invocation)
        ips = [
            interface_ip(each.network.address, each.network.prefix, each.gateway)
            for each in self._addresses()
        ]
        return Result(ips=tuple(ips), routes=read_routes(reader), dns=dns.from_config(reader))

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
                    fix=RECREATE,
                )

    def status(self) -> None:
        self._addresses()

    def _addresses(self) -> list[Fixed]:
        """Addresses of the configuration and of CNI_ARGS.

        ``args.cni.ips`` replaces these, and ``runtimeConfig.ips`` replaces both.
        """
        reader = reader_of(self.invocation)
        by_env = arguments(self.invocation, "IP", "GATEWAY")
        by_args, by_runtime = requested(self.invocation)
        if by_runtime or by_args:
            fixed = [Fixed(_network(text, "'ips'", reader.where)) for text in by_runtime or by_args]
        else:
            fixed = [*configured(reader), *self._from_environment(by_env)]
        require_one_per_family([each.network.address.family for each in fixed], self.invocation)
        return fixed

    def _from_environment(self, given: dict[str, str]) -> list[Fixed]:
        texts = given["IP"].split(",") if "IP" in given else []
        where = reader_of(self.invocation).where
        fixed = [Fixed(_network(text.strip(), "CNI_ARGS 'IP'", where)) for text in texts]
        for text in given["GATEWAY"].split(",") if "GATEWAY" in given else []:
            gateway = _gateway(text.strip(), where)
            fixed = [evolve(f, gateway=gateway) if gateway in f.network else f for f in fixed]
        return fixed


def configured(reader: Reader) -> list[Fixed]:
    """The list ``addresses`` of an ``ipam`` object."""
    require_few(reader, "addresses", len(reader.sequence("addresses")), MOST_ADDRESSES)
    fixed = []
    for index, raw in enumerate(reader.mappings("addresses")):
        each = Reader(raw, within(reader.where, f": addresses[{index}]", "addresses", index))
        gateway = each.text("gateway")
        fixed.append(
            Fixed(
                _network(each.text("address"), "'address'", reader.where),
                _gateway(gateway, reader.where) if gateway else None,
            )
        )
    return fixed


def _network(text: str, key: str, where: str) -> Network:
    network = Network.parse(text)
    if network is None:
        raise InvalidConfig(
            f"{key} is expected to be in CIDR notation, got: {text!r}",
            where=where,
            fix="write it as 10.1.0.7/24",
        )
    return network


def _gateway(text: str, where: str) -> Address:
    gateway = Address.parse(text)
    if gateway is None:
        raise InvalidConfig(f"invalid gateway address: {text!r}", where=where, fix="correct it")
    return gateway
