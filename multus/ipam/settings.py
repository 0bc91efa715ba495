"""Reading what IPAM is given: the ``ipam`` object, requested addresses, routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multus.api.errors import InvalidConfig
from multus.api.reader import Reader
from multus.api.result import IP, Route
from multus.api.versions import at_least
from multus.api.where import within
from multus.ipam.addresses import Address, Network

if TYPE_CHECKING:
    from multus.api.network import Invocation


_U32 = 2**32 - 1

#: The numbers of a route, and the largest value of each that a kernel message can hold.
_LARGEST = {"mtu": _U32, "advmss": _U32, "priority": _U32, "table": _U32, "scope": 255}

#: The most routes of one configuration: each is a message to the kernel and part of the result.
MOST_ROUTES = 1024
#: The most addresses that one interface is given or asks for.
MOST_ADDRESSES = 256


def reader_of(invocation: Invocation) -> Reader:
    """The ``ipam`` object of an invocation's configuration."""
    return reader_in(invocation.config)


def reader_in(config: Mapping[str, Any]) -> Reader:
    """The ``ipam`` object of a plugin's configuration."""
    network = config.get("name")
    whole = Reader(config, f"network {network!r}")
    return Reader(whole.mapping("ipam"), within(whole.where, ": ipam", "ipam"))


def arguments(invocation: Invocation, *known: str) -> dict[str, str]:
    """The values of ``CNI_ARGS`` under the *known* keys.

    Raises ``InvalidConfig`` for any other key, unless ``IgnoreUnknown`` is set: that is the
    convention of ``CNI_ARGS``, which the reference plugins keep.
    """
    given = invocation.args
    ignored = given.get("IgnoreUnknown", "").lower() in ("1", "true")
    unknown = [key for key in given if key not in known and key != "IgnoreUnknown"]
    if unknown and not ignored:
        raise InvalidConfig(
            f"CNI_ARGS: unknown args {', '.join(sorted(unknown))}",
            fix="remove them, or add IgnoreUnknown=1",
        )
    return {key: given[key] for key in known if given.get(key)}


def requested(invocation: Invocation) -> tuple[list[str], list[str]]:
    """The strings in ``args.cni.ips`` and in ``runtimeConfig.ips``."""
    where = f"network {invocation.config.get('name')!r}"
    whole = Reader(invocation.config, where)
    cni = Reader(whole.mapping("args"), f"{where}: args").mapping("cni")
    by_args = Reader(cni, f"{where}: args.cni").texts("ips")
    runtime = Reader(whole.mapping("runtimeConfig"), f"{where}: runtimeConfig")
    by_runtime = runtime.texts("ips")
    for each in (by_args, by_runtime):
        require_few(whole, "ips", len(each), MOST_ADDRESSES)
    return by_args, by_runtime


def require_few(reader: Reader, key: str, count: int, most: int) -> None:
    """Raise ``InvalidConfig`` when *key* lists more than *most* entries."""
    if count > most:
        raise reader.error(key, f"has {count} entries, at most {most} are allowed", "use fewer")


def read_routes(reader: Reader) -> tuple[Route, ...]:
    """The list ``routes`` of ``{dst, gw, mtu, advmss, priority, table, scope}``."""
    require_few(reader, "routes", len(reader.sequence("routes")), MOST_ROUTES)
    routes = []
    for index, raw in enumerate(reader.mappings("routes")):
        each = Reader(raw, within(reader.where, f": routes[{index}]", "routes", index))
        dst, gateway = Network.parse(each.text("dst")), each.text("gw")
        if dst is None:
            raise each.error(
                "dst",
                f"is {each.text('dst')!r}, not a network in CIDR form",
                "write it as 10.1.0.0/16",
            )
        via = Address.parse(gateway) if gateway else None
        if gateway and via is None:
            raise each.error("gw", f"is {gateway!r}, not an IP address", "correct it")
        numbers: Mapping[str, Any] = {
            key: each.integer(key, within=range(top + 1))
            for key, top in _LARGEST.items()
            if raw.get(key) is not None
        }
        routes.append(Route(str(dst), str(via) if via else "", **numbers))
    return tuple(routes)


def require_one_per_family(families: list[int], invocation: Invocation) -> None:
    """Raise when a result of this CNI version cannot hold so many addresses."""
    twice = any(families.count(family) > 1 for family in (4, 6))
    if twice and not at_least(invocation.cni_version, "0.3.0"):
        raise InvalidConfig(
            f"network {invocation.config.get('name')!r}: CNI version {invocation.cni_version}"
            " does not support more than 1 address per family",
            fix="raise 'cniVersion' to 0.3.1 or more",
        )


def interface_ip(address: Address, prefix: int, gateway: Address | None) -> IP:
    """An address in the form of results."""
    return IP(f"{address}/{prefix}", str(gateway) if gateway else "")
