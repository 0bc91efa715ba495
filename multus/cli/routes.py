"""Predicts a pod's routes from the configurations of its delegates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from multus.api import defaultroute
from multus.engine.defaultroute import KNOWN_IPAM

if TYPE_CHECKING:
    from multus.api.network import Delegate

#: The address family of each default route.
_DEFAULTS = {"0.0.0.0/0": 4, "::/0": 6}
_REQUESTED = "requested"


@frozen
class ExpectedRoute:
    """A route of a delegate; ``note``: why it is not set or not used, or that it is requested."""

    ifname: str
    dst: str
    gw: str = ""
    note: str = ""

    @property
    def family(self) -> int:
        """4 or 6 for a default route, 0 for another."""
        return _DEFAULTS.get(self.dst, 0)

    @property
    def counts(self) -> bool:
        return self.note in ("", _REQUESTED)

    def to_wire(self) -> dict[str, str]:
        wire = {"interface": self.ifname, "dst": self.dst, "gw": self.gw, "note": self.note}
        return {key: value for key, value in wire.items() if value}


@frozen
class Expected:
    """The known routes, and ``(interface, reason)`` where routes are only known after the ADD."""

    routes: tuple[ExpectedRoute, ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()

    def contested(self) -> Iterator[tuple[int, list[ExpectedRoute]]]:
        """Each family of which several networks bring a default route, with the routes."""
        for family in (4, 6):
            found = [each for each in self.routes if each.family == family]
            if len({each.ifname for each in found}) > 1:
                yield family, found

    def winners(self) -> Iterator[str]:
        """Whose default route is used where several networks bring one."""
        for family, found in self.contested():
            names = list(dict.fromkeys(each.ifname for each in found if each.counts))
            others = list(dict.fromkeys(each.ifname for each in found if not each.counts))
            if len(names) == 1 and others:
                lost = f"not that of {' and '.join(others)}"
                yield f"IPv{family}: the default route is that of {names[0]}, {lost}"
            else:
                every = " and ".join(dict.fromkeys(each.ifname for each in found))
                yield f"IPv{family}: {every} share the default route"


def expected(delegates: Sequence[Delegate]) -> Expected:
    """The routes of *delegates*, which are in order of invocation."""
    settling = _Settling()
    for each in delegates:
        settling.add(each)
    return Expected(tuple(_settled(settling.routes)), tuple(settling.unknown))


@frozen
class _Settling:
    """The routes of the delegates so far."""

    routes: list[ExpectedRoute] = field(factory=list)
    unknown: list[tuple[str, str]] = field(factory=list)

    def add(self, delegate: Delegate) -> None:
        found: list[ExpectedRoute] = []
        reason = ""
        for plugin in delegate.plugins:
            if plugin.type == defaultroute.TYPE:
                found = self._after_step(found, plugin.config, delegate)
                continue
            found += _of_plugin(delegate.ifname, plugin.config)
            reason = reason or _why_unknown(plugin.config)
        self.routes.extend(found)
        if reason:
            self.unknown.append((delegate.ifname, reason))

    def _after_step(
        self, found: list[ExpectedRoute], step: Mapping[str, Any], delegate: Delegate
    ) -> list[ExpectedRoute]:
        """*found* as the engine's step leaves them."""
        if step.get("yields"):
            return [self._yielded(each) if each.family else each for each in found]
        others = [each for each in found if each.family not in step["families"]]
        if step.get("gateways"):
            return others + [_through(delegate.ifname, str(gw)) for gw in step["gateways"]]
        own = [each for each in found if each.family in step["families"]]
        if "gateways" not in step:
            return others + [evolve(each, note="not set") for each in own]
        more = [
            _through(delegate.ifname, gateway)
            for plugin in delegate.plugins
            for gateway in _gateways(_ipam(plugin.config))
            if all(each.family != _family(gateway) for each in own)
            if _family(gateway) in step["families"]
        ]
        return others + [evolve(each, note=_REQUESTED) for each in (*own, *more)]

    def _yielded(self, own: ExpectedRoute) -> ExpectedRoute:
        rivals = [each for each in self.routes if each.dst == own.dst and each.counts]
        if rivals:
            return evolve(own, note=f"not set: {rivals[0].ifname} has the default route")
        if self.unknown:
            names = " or ".join(ifname for ifname, _ in self.unknown)
            return evolve(own, note=f"not set if {names} has a default route")
        return own


def _settled(routes: Sequence[ExpectedRoute]) -> Iterator[ExpectedRoute]:
    """Say which of several default routes the kernel uses: of IPv4 the last, of IPv6 all."""
    for each in routes:
        rivals = [one for one in routes if one.dst == each.dst and one.counts and each.family]
        if each.note == "not set" and rivals:
            yield evolve(each, note=f"not set: {rivals[-1].ifname} has the default route")
        elif each.note or len(rivals) < 2:
            yield each
        elif each.family == 4 and rivals[-1] is not each:
            yield evolve(each, note=f"not used: {rivals[-1].ifname} has the default route")
        elif each.family == 6:
            others = " and ".join(one.ifname for one in rivals if one is not each)
            yield evolve(each, note=f"shared with {others}")
        else:
            yield each


def _through(ifname: str, gateway: str) -> ExpectedRoute:
    return ExpectedRoute(ifname, "::/0" if ":" in gateway else "0.0.0.0/0", gateway, _REQUESTED)


# --- What a configuration says --------------------------------------------------------------------


def _of_plugin(ifname: str, config: Mapping[str, Any]) -> Iterator[ExpectedRoute]:
    ipam = _ipam(config)
    for route in _objects(ipam.get("routes")):
        if isinstance(route.get("dst"), str):
            dst = str(route["dst"])
            yield ExpectedRoute(ifname, dst, str(route.get("gw") or _gateway(ipam, dst)))
    delegate = config.get("delegate")
    nested = delegate if isinstance(delegate, Mapping) else {}
    if config.get("isDefaultGateway") is True or nested.get("isDefaultGateway") is True:
        yield ExpectedRoute(ifname, "0.0.0.0/0", _gateway(ipam, "0.0.0.0/0") or "the bridge")


def _ipam(config: Mapping[str, Any]) -> Mapping[str, Any]:
    ipam = config.get("ipam")
    return ipam if isinstance(ipam, Mapping) else {}


def _gateway(ipam: Mapping[str, Any], dst: str) -> str:
    """The gateway of a route without one: that of the first address of its family."""
    wanted = 6 if ":" in dst else 4
    return next((each for each in _gateways(ipam) if _family(each) == wanted), "")


def _gateways(ipam: Mapping[str, Any]) -> list[str]:
    """The gateways that host-local and static return, one for each family."""
    groups = ipam.get("ranges")
    listed = groups if isinstance(groups, Sequence) and not isinstance(groups, str) else ()
    pools = [ipam, *(each for group in listed for each in _objects(group))]
    found = [_gateway_of(each) for each in (*pools, *_objects(ipam.get("addresses")))]
    return list({_family(each): each for each in reversed(found) if each}.values())


def _gateway_of(pool: Mapping[str, Any]) -> str:
    if pool.get("gateway") or "subnet" not in pool:
        return str(pool.get("gateway") or "")
    try:
        return str(ip_network(str(pool["subnet"]), strict=False)[1])  # host-local's own choice
    except (ValueError, IndexError):
        return ""


def _why_unknown(config: Mapping[str, Any]) -> str:
    kind = _ipam(config).get("type")
    if kind and kind not in KNOWN_IPAM:
        return f"IPAM {kind!r} chooses routes at run time"
    if "delegate" in config:
        return f"plugin {config.get('type')!r} calls another plugin"
    return ""


def _family(address: str) -> int:
    return 6 if ":" in address else 4


def _objects(value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [each for each in value if isinstance(each, Mapping)]
