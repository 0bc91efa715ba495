"""A CNI result, and its forms in every version of the specification.

The value has the fields of 1.1.0.  ``from_wire`` reads any version; ``to_wire`` writes one, and
omits fields that the version lacks.

Source: CNI specification, section "Result types", tags spec-v0.1.0 to spec-v1.1.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from multus.api.errors import DecodingFailure, IncompatibleVersion
from multus.api.reader import describe
from multus.api.versions import IMPLICIT, SUPPORTED, at_least

#: ``RT_TABLE_MAIN``: the table of routes that name none.
_TABLE_MAIN = 254


@frozen
class Interface:
    """A link of an attachment: on the host, or in ``sandbox`` (the netns path)."""

    name: str
    mac: str = ""
    sandbox: str = ""
    mtu: int = 0
    socket_path: str = ""
    pci_id: str = ""


@frozen
class IP:
    """An address in CIDR form; ``interface`` is its index in the result's interfaces."""

    address: str
    gateway: str = ""
    interface: int | None = None

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4


@frozen
class Route:
    """A route in the sandbox; numbers are None when they are not set."""

    dst: str
    gw: str = ""
    mtu: int | None = None
    advmss: int | None = None
    priority: int | None = None
    table: int | None = None
    scope: int | None = None

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.dst else 4

    @property
    def is_default(self) -> bool:
        """Whether it is a default route in the main table; other tables need policy rules."""
        return self.dst.endswith("/0") and self.table in (None, 0, _TABLE_MAIN)


@frozen
class DNS:
    """Resolver settings; every part may be empty."""

    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.nameservers or self.domain or self.search or self.options)


@frozen
class Result:
    """The result of an ADD.  The empty result is valid: some plugins configure no address."""

    interfaces: tuple[Interface, ...] = ()
    ips: tuple[IP, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: DNS = field(factory=DNS)

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any] | None) -> Result:
        """Read a decoded result in the version that it names; null is the empty result.

        Raises ``IncompatibleVersion`` or ``DecodingFailure``.
        """
        if raw is None:
            return cls()
        if not isinstance(raw, dict):
            raise DecodingFailure(f"the result is {describe(raw)}, not an object")
        version = raw.get("cniVersion") or IMPLICIT
        if version not in SUPPORTED:
            raise IncompatibleVersion(
                f"a result of CNI version {version!r} cannot be read: known are"
                f" {', '.join(SUPPORTED)}"
            )
        try:
            return _read_old(raw) if not at_least(version, "0.3.0") else _read(raw)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise DecodingFailure(
                f"the result is not a CNI result of version {version}: {error}"
            ) from error

    def to_wire(self, version: str) -> dict[str, Any]:
        """The result as a JSON object of *version*, one of ``SUPPORTED``."""
        if version not in SUPPORTED:
            raise IncompatibleVersion(f"a result cannot be written as CNI version {version!r}")
        return _write(self, version) if at_least(version, "0.3.0") else _write_old(self, version)

    @property
    def gateways(self) -> dict[int, str]:
        """By family (4, 6): the gateway of routes that name none.

        It is the gateway of the first address of the family that has one.
        """
        return {ip.family: ip.gateway for ip in reversed(self.ips) if ip.gateway}

    def addresses_of(self, at: int) -> list[IP]:
        """The addresses of interface *at*.

        An address without an interface belongs to the sandbox's interface when there is only one.
        """
        inside = [each for each, link in enumerate(self.interfaces) if link.sandbox]
        only = None if len(inside) != 1 else inside[0]
        return [ip for ip in self.ips if (only if ip.interface is None else ip.interface) == at]

    def sandbox_interfaces(self) -> tuple[Interface, ...]:
        """The interfaces inside the container."""
        return tuple(link for link in self.interfaces if link.sandbox)

    def shifted(self, by: int) -> Result:
        """The same result with every interface index raised by *by*, for merging results."""
        moved = (
            ip if ip.interface is None else evolve(ip, interface=ip.interface + by)
            for ip in self.ips
        )
        return evolve(self, ips=tuple(moved))


# --- 0.3.0 and up: a list of interfaces, a list of addresses -------------------------------------


def _read(raw: Mapping[str, Any]) -> Result:
    result = Result(
        interfaces=tuple(_read_interface(each) for each in raw.get("interfaces") or ()),
        ips=tuple(_read_ip(each) for each in raw.get("ips") or ()),
        routes=tuple(_read_route(each) for each in raw.get("routes") or ()),
        dns=_read_dns(raw.get("dns")),
    )
    for ip in result.ips:
        if ip.interface is not None and not 0 <= ip.interface < len(result.interfaces):
            raise ValueError(
                f"address {ip.address} is on interface {ip.interface},"
                f" but the result has {len(result.interfaces)} interfaces"
            )
    return result


def _read_interface(raw: Mapping[str, Any]) -> Interface:
    return Interface(
        name=_text(raw, "name"),
        mac=_text(raw, "mac"),
        sandbox=_text(raw, "sandbox"),
        mtu=_number(raw, "mtu") or 0,
        socket_path=_text(raw, "socketPath"),
        pci_id=_text(raw, "pciID"),
    )


def _read_ip(raw: Mapping[str, Any]) -> IP:
    address = _text(raw, "address")
    if not address:
        raise ValueError("an entry of 'ips' has no address")
    return IP(address, _text(raw, "gateway"), _number(raw, "interface"))


def _read_route(raw: Mapping[str, Any]) -> Route:
    dst = _text(raw, "dst")
    if not dst:
        raise ValueError("an entry of 'routes' has no dst")
    return Route(
        dst,
        _text(raw, "gw"),
        mtu=_number(raw, "mtu"),
        advmss=_number(raw, "advmss"),
        priority=_number(raw, "priority"),
        table=_number(raw, "table"),
        scope=_number(raw, "scope"),
    )


def _read_dns(raw: Mapping[str, Any] | None) -> DNS:
    if raw is None:
        return DNS()
    return DNS(
        nameservers=_texts(raw, "nameservers"),
        domain=_text(raw, "domain"),
        search=_texts(raw, "search"),
        options=_texts(raw, "options"),
    )


def _write(result: Result, version: str) -> dict[str, Any]:
    wire: dict[str, Any] = {"cniVersion": version}
    if result.interfaces:
        wire["interfaces"] = [_write_interface(each, version) for each in result.interfaces]
    if result.ips:
        wire["ips"] = [_write_ip(each, version) for each in result.ips]
    if result.routes:
        wire["routes"] = [_write_route(each, version) for each in result.routes]
    wire["dns"] = _write_dns(result.dns)
    return wire


def _write_interface(link: Interface, version: str) -> dict[str, Any]:
    wire: dict[str, Any] = {"name": link.name}
    if link.mac:
        wire["mac"] = link.mac
    if at_least(version, "1.1.0") and link.mtu:
        wire["mtu"] = link.mtu
    if link.sandbox:
        wire["sandbox"] = link.sandbox
    if at_least(version, "1.1.0"):
        wire |= _present({"socketPath": link.socket_path or None, "pciID": link.pci_id or None})
    return wire


def _write_ip(ip: IP, version: str) -> dict[str, Any]:
    wire: dict[str, Any] = {}
    if not at_least(version, "1.0.0"):
        wire["version"] = str(ip.family)
    if ip.interface is not None:
        wire["interface"] = ip.interface
    wire["address"] = ip.address
    if ip.gateway:
        wire["gateway"] = ip.gateway
    return wire


def _write_route(route: Route, version: str) -> dict[str, Any]:
    wire: dict[str, Any] = {"dst": route.dst}
    if route.gw:
        wire["gw"] = route.gw
    if at_least(version, "1.1.0"):
        names = ("mtu", "advmss", "priority", "table", "scope")
        wire |= _present({name: getattr(route, name) for name in names})
    return wire


def _write_dns(dns: DNS) -> dict[str, Any]:
    return _present(
        {
            "nameservers": list(dns.nameservers) or None,
            "domain": dns.domain or None,
            "search": list(dns.search) or None,
            "options": list(dns.options) or None,
        }
    )


# --- 0.1.0 and 0.2.0: at most one address a family, and no interfaces ----------------------------


def _read_old(raw: Mapping[str, Any]) -> Result:
    parts = [part for part in (raw.get("ip4"), raw.get("ip6")) if part]
    return Result(
        ips=tuple(_read_old_ip(part) for part in parts),
        routes=tuple(_read_route(route) for part in parts for route in part.get("routes") or ()),
        dns=_read_dns(raw.get("dns")),
    )


def _read_old_ip(raw: Mapping[str, Any]) -> IP:
    address = _text(raw, "ip")
    if not address:
        raise ValueError("'ip4' or 'ip6' has no ip")
    return IP(address, _text(raw, "gateway"))


def _write_old(result: Result, version: str) -> dict[str, Any]:
    wire: dict[str, Any] = {"cniVersion": version}
    for family, key in ((4, "ip4"), (6, "ip6")):
        first = next((ip for ip in result.ips if ip.family == family), None)
        if first is None:
            continue
        part: dict[str, Any] = {"ip": first.address}
        if first.gateway:
            part["gateway"] = first.gateway
        routes = [_write_route(r, version) for r in result.routes if r.family == family]
        if routes:
            part["routes"] = routes
        wire[key] = part
    wire["dns"] = _write_dns(result.dns)
    return wire


# --- JSON's types -------------------------------------------------------------------------------


def _text(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"'{key}' must be a string")
    return value


def _texts(raw: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values: Sequence[Any] = raw.get(key) or ()
    if not isinstance(values, list | tuple) or not all(isinstance(each, str) for each in values):
        raise TypeError(f"'{key}' must be a list of strings")
    return tuple(values)


def _number(raw: Mapping[str, Any], key: str) -> int | None:
    value = raw.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"'{key}' must be a whole number")
    return value


def _present(wire: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in wire.items() if value is not None}
