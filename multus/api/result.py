"""A CNI result, and its forms in every version of the specification.

The value has the fields of 1.1.0.  ``from_wire`` reads any version; ``to_wire`` writes one, and
omits fields that the version lacks.

Source: CNI specification, section "Result types", tags spec-v0.1.0 to spec-v1.1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from multus.api import _fields, addresstext
from multus.api.errors import DecodingFailure, IncompatibleVersion
from multus.api.reader import describe
from multus.api.spelling import spelled
from multus.api.versions import IMPLICIT, SUPPORTED, at_least

#: The destination of a default route, by address family.
EVERYWHERE: Mapping[int, str] = {4: "0.0.0.0/0", 6: "::/0"}
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

    def to_wire(self) -> dict[str, Any]:
        """The settings as a JSON object, without the parts that are empty."""
        return _fields.present(
            {
                "nameservers": list(self.nameservers) or None,
                "domain": self.domain or None,
                "search": list(self.search) or None,
                "options": list(self.options) or None,
            }
        )


@frozen
class Result:
    """The result of an ADD.  The empty result is valid: some plugins configure no address."""

    interfaces: tuple[Interface, ...] = ()
    ips: tuple[IP, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: DNS = field(factory=DNS)

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any] | None, *, recorded: bool = False) -> Result:
        """Read a decoded result in the version that it names; null is the empty result.

        As libcni does, it takes an interface index that names no interface: the address then has no
        interface.  An address entry without ``address`` is left out, and a route without ``dst`` is
        the default route.  The letter case of keys does not matter.  With *recorded*, text that is
        not an address is taken too: earlier releases recorded it.

        Raises ``IncompatibleVersion`` or ``DecodingFailure``.
        """
        if raw is None:
            return cls()
        if not isinstance(raw, dict):
            raise DecodingFailure(f"the result is {describe(raw)}, not an object")
        if not recorded:
            raw = spelled(raw, _fields.SPELLING)
        version = raw.get("cniVersion") or IMPLICIT
        if version not in SUPPORTED:
            raise IncompatibleVersion(
                f"a result of CNI version {version!r} cannot be read: known are"
                f" {', '.join(SUPPORTED)}"
            )
        try:
            result = _read_old(raw) if not at_least(version, "0.3.0") else _read(raw)
            problem = "" if recorded else result.malformed()
            if problem:
                raise ValueError(problem)
            return result
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise DecodingFailure(
                f"the result is not a CNI result of version {version}: {error}"
            ) from error

    def to_wire(self, version: str) -> dict[str, Any]:
        """The result as a JSON object of *version*, one of ``SUPPORTED``."""
        if version not in SUPPORTED:
            raise IncompatibleVersion(f"a result cannot be written as CNI version {version!r}")
        return _write(self, version) if at_least(version, "0.3.0") else _write_old(self, version)

    def malformed(self) -> str:
        """What is not an address in its address fields; "" when nothing is."""
        for each in (*(ip.address for ip in self.ips), *(route.dst for route in self.routes)):
            if not addresstext.is_prefix(each):
                return f"{each!r} is not an address in CIDR form, like 10.0.0.2/24"
        for each in (*(ip.gateway for ip in self.ips), *(route.gw for route in self.routes)):
            if each and not addresstext.is_address(each):
                return f"the gateway {each!r} is not an IP address"
        return ""

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
    links = tuple(_read_interface(each) for each in raw.get("interfaces") or ())
    return Result(
        interfaces=links,
        ips=tuple(
            _read_ip(each, len(links))
            for each in raw.get("ips") or ()
            if _fields.has(each, "address")
        ),
        routes=tuple(_read_route(each) for each in raw.get("routes") or ()),
        dns=_read_dns(raw.get("dns")),
    )


def _read_interface(raw: Mapping[str, Any]) -> Interface:
    return Interface(
        name=_fields.text(raw, "name"),
        mac=_fields.text(raw, "mac"),
        sandbox=_fields.text(raw, "sandbox"),
        mtu=_fields.number(raw, "mtu") or 0,
        socket_path=_fields.text(raw, "socketPath"),
        pci_id=_fields.text(raw, "pciID"),
    )


def _read_ip(raw: Mapping[str, Any], links: int) -> IP:
    at = _fields.number(raw, "interface")
    named = at if at is not None and 0 <= at < links else None
    return IP(_fields.text(raw, "address"), _fields.text(raw, "gateway"), named)


def _read_route(raw: Mapping[str, Any]) -> Route:
    gateway = _fields.text(raw, "gw")
    return Route(
        _fields.text(raw, "dst")
        if _fields.has(raw, "dst")
        else EVERYWHERE[6]
        if ":" in gateway
        else EVERYWHERE[4],
        gateway,
        mtu=_fields.number(raw, "mtu"),
        advmss=_fields.number(raw, "advmss"),
        priority=_fields.number(raw, "priority"),
        table=_fields.number(raw, "table"),
        scope=_fields.number(raw, "scope"),
    )


def _read_dns(raw: Mapping[str, Any] | None) -> DNS:
    if raw is None:
        return DNS()
    return DNS(
        nameservers=_fields.texts(raw, "nameservers"),
        domain=_fields.text(raw, "domain"),
        search=_fields.texts(raw, "search"),
        options=_fields.texts(raw, "options"),
    )


def _write(result: Result, version: str) -> dict[str, Any]:
    wire: dict[str, Any] = {"cniVersion": version}
    if result.interfaces:
        wire["interfaces"] = [_write_interface(each, version) for each in result.interfaces]
    if result.ips:
        wire["ips"] = [_write_ip(each, version) for each in result.ips]
    if result.routes:
        wire["routes"] = [_write_route(each, version) for each in result.routes]
    wire["dns"] = result.dns.to_wire()
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
        wire |= _fields.present(
            {"socketPath": link.socket_path or None, "pciID": link.pci_id or None}
        )
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
        wire |= _fields.present({name: getattr(route, name) for name in names})
    return wire


# --- 0.1.0 and 0.2.0: at most one address a family, and no interfaces ----------------------------


def _read_old(raw: Mapping[str, Any]) -> Result:
    parts = [part for part in (raw.get("ip4"), raw.get("ip6")) if part]
    return Result(
        ips=tuple(_read_old_ip(part) for part in parts if _fields.has(part, "ip")),
        routes=tuple(_read_route(route) for part in parts for route in part.get("routes") or ()),
        dns=_read_dns(raw.get("dns")),
    )


def _read_old_ip(raw: Mapping[str, Any]) -> IP:
    return IP(_fields.text(raw, "ip"), _fields.text(raw, "gateway"))


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
    wire["dns"] = result.dns.to_wire()
    return wire
