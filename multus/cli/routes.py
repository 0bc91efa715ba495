"""Predicts a pod's routes from the configurations of its delegates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

if TYPE_CHECKING:
    from multus.state.record import Planned

_DEFAULTS = {"0.0.0.0/0": 4, "::/0": 6}
#: IPAM plugins that return exactly the routes of their configuration.
_KNOWN_IPAM = ("host-local", "static")


@frozen
class ExpectedRoute:
    """A route of a delegate; ``note``: why it is not set, or that the element requests it."""

    ifname: str
    dst: str
    gw: str = ""
    note: str = ""

    @property
    def is_default(self) -> bool:
        return self.dst in _DEFAULTS

    def to_wire(self) -> dict[str, str]:
        wire = {"interface": self.ifname, "dst": self.dst, "gw": self.gw, "note": self.note}
        return {key: value for key, value in wire.items() if value}


@frozen
class Expected:
    """The known routes, and ``(interface, reason)`` where routes are only known after the ADD."""

    routes: tuple[ExpectedRoute, ...]
    unknown: tuple[tuple[str, str], ...]


def expected(planned: Sequence[Planned]) -> Expected:
    """The routes of *planned*, in order of invocation."""
    routes: list[ExpectedRoute] = []
    unknown = []
    for each in planned:
        ifname, found, reason = each.delegate.ifname, [], ""
        for step in each.steps:
            found += list(_of_plugin(ifname, step.config))
            reason = reason or _why_unknown(step.config)
        routes += _with_choice(found, each)
        if reason:
            unknown.append((ifname, reason))
    return Expected(tuple(_settled(routes)), tuple(unknown))


def _of_plugin(ifname: str, config: Mapping[str, Any]) -> Iterator[ExpectedRoute]:
    ipam = config.get("ipam")
    ipam = ipam if isinstance(ipam, dict) else {}
    for route in _objects(ipam.get("routes")):
        if isinstance(route.get("dst"), str):
            yield ExpectedRoute(ifname, route["dst"], _gateway(route, ipam))
    delegate = config.get("delegate")
    nested = delegate if isinstance(delegate, dict) else {}
    if config.get("isDefaultGateway") is True or nested.get("isDefaultGateway") is True:
        yield ExpectedRoute(ifname, "0.0.0.0/0", _gateway({}, ipam) or "the bridge")


def _gateway(route: Mapping[str, Any], ipam: Mapping[str, Any]) -> str:
    ranges = [each for group in ipam.get("ranges") or [] for each in _objects(group)]
    given = [route.get("gw"), ipam.get("gateway"), *(each.get("gateway") for each in ranges)]
    addresses = [each.get("gateway") for each in _objects(ipam.get("addresses"))]
    is_v6 = ":" in str(route.get("dst", ""))
    fitting = (each for each in (*given, *addresses) if each and (":" in str(each)) == is_v6)
    return str(next(fitting, ""))


def _why_unknown(config: Mapping[str, Any]) -> str:
    ipam = config.get("ipam")
    if isinstance(ipam, dict) and ipam.get("type") and ipam["type"] not in _KNOWN_IPAM:
        return f"IPAM {ipam['type']!r} chooses routes at run time"
    if "delegate" in config:
        return f"plugin {config.get('type')!r} calls another plugin"
    return ""


def _with_choice(routes: list[ExpectedRoute], planned: Planned) -> list[ExpectedRoute]:
    """Apply the element's ``default-route`` (NPWG 1.3): its gateways replace the default routes."""
    wanted = planned.delegate.options.get("default-route")
    if not isinstance(wanted, list):
        return routes
    kept = [each for each in routes if not each.is_default]
    ifname = planned.delegate.ifname
    chosen = [
        ExpectedRoute(ifname, "::/0" if ":" in str(gw) else "0.0.0.0/0", str(gw), "requested")
        for gw in wanted
    ]
    return kept + chosen


def _settled(routes: list[ExpectedRoute]) -> Iterator[ExpectedRoute]:
    """Keep one default route per address family: the requested one, else the first."""
    for each in routes:
        rivals = [other for other in routes if other.dst == each.dst and each.is_default]
        chosen = next((other for other in rivals if other.note), rivals[0] if rivals else each)
        if chosen is each or each.note:
            yield each
        else:
            yield evolve(each, note=f"not set: {chosen.ifname} has the default route")


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
