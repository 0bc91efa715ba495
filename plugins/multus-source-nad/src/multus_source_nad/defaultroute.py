"""The default route of a pod, when an annotation says which network has it.

Every delegate of such a pod gets one more step at the end of its chain.  The step works out which
default routes the attachment is to have in the end, makes it so in the pod's namespace, and reports
it: what is written down, checked and answered is what is there.

    eth0  default network   default via 10.0.0.1   ->  (none)
    net1  "default-route"   default via 10.1.0.1   ->  default via 10.1.0.254

Source: NPWG standard 1.3, section 4.1.2.1.9.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve

from multus import hookimpl
from multus.api.errors import CheckFailed, InvalidConfig
from multus.api.invoker import Invoker
from multus.api.network import Plugin
from multus.api.result import Result, Route
from multus.api.where import path_of

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Delegate, Element, Invocation
    from multus.netlink import Channel
    from multus.netlink.routes import Route as KernelRoute
    from multus.netlink.wire import Message

TYPE = "multus-default-route"
_DEFAULTS = {4: "0.0.0.0/0", 6: "::/0"}
#: What the kernel gives a route of IPv6 that comes without a metric (``IP6_RT_PRIO_USER``).
_METRICS = {4: 0, 6: 1024}
#: ``RT_TABLE_MAIN``: where a route goes that names no table.
_TABLE_MAIN = 254


def chosen_gateways(elements: Iterable[Element]) -> tuple[str, ...] | None:
    """The gateways of the one element that asks for the default route; None when none asks.

    They are empty when it leaves the gateway to its network's plugins.  Raises ``InvalidConfig``
    when two ask.
    """
    asking = [each for each in elements if "default-route" in each.options]
    if len(asking) > 1:
        raise InvalidConfig(
            f"{asking[0].origin} and {asking[1].origin} both have 'default-route'",
            path=path_of(asking[0].origin),
            fix="keep it on one",
        )
    return tuple(asking[0].options["default-route"]) if asking else None


def step_for(delegate: Delegate, gateways: Sequence[str]) -> Plugin:
    """The step of one network of a pod that has its default route through *gateways*.

    The families of the gateways are decided; both, when no gateway is named.
    """
    families = sorted({_family(each) for each in gateways}) or [4, 6]
    config: dict[str, Any] = {"type": TYPE, "families": families}
    if "default-route" in delegate.options:
        config["gateways"] = list(gateways)
    return Plugin(config)


@hookimpl
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | None:
    """The step is carried out here."""
    return DefaultRoute() if plugin.type == TYPE else None


class DefaultRoute(Invoker):
    """Gives an attachment the default routes that it is to have, and no others.

    Keys: ``families``, whose default routes are decided here; ``gateways``, through which they are
    to go, empty for those of the plugin before.  Without ``gateways`` the attachment has none.
    """

    name = "default-route"
    leaves_nothing = True  # the routes go with the interface

    def add(self, invocation: Invocation) -> Result:
        before = invocation.prev_result or Result()
        after = final_routes(before, invocation)
        with _channel(invocation) as channel:
            _apply(channel, before, after, invocation)
        return after

    def check(self, invocation: Invocation) -> None:
        result = invocation.prev_result or Result()
        wanted = {
            (_DEFAULTS[route.family], route.gw)
            for route in result.routes
            if _is_default(route, invocation.config["families"])
        }
        with _channel(invocation) as channel:
            found = set(_kernel(channel, result, invocation))
        if wanted != found:
            raise CheckFailed(
                f"interface {invocation.ifname} has the default routes {_words(found)}, and it is"
                f" to have {_words(wanted)}",
                fix="delete the pod, or correct its routes",
            )


def final_routes(before: Result, invocation: Invocation) -> Result:
    """The result with the default routes that the attachment has in the end."""
    families: Sequence[int] = invocation.config["families"]
    others = tuple(route for route in before.routes if not _is_default(route, families))
    gateways = invocation.config.get("gateways")
    if gateways is None:
        return evolve(before, routes=others)
    named = before.gateways
    own = _distinct(
        # A route without a gateway goes through the address's (CNI 1.1, "ADD Success").
        evolve(route, gw=route.gw or named.get(route.family, ""))
        for route in before.routes
        if _is_default(route, families)
    )
    if gateways:
        return evolve(before, routes=(*others, *_through(gateways, own)))
    given = {route.family for route in own}
    # Many IPAM plugins name a gateway and leave the route to whoever wants it.
    more = tuple(
        Route(_DEFAULTS[family], gateway)
        for family, gateway in sorted(named.items())
        if family in families and family not in given
    )
    if not own and not more:
        raise InvalidConfig(
            "'default-route' is empty, and the network's plugins name no gateway",
            fix="write the gateway's address into 'default-route'",
        )
    return evolve(before, routes=(*others, *own, *more))


def _distinct(defaults: Iterable[Route]) -> tuple[Route, ...]:
    """One route for each gateway and metric: the main table may be named or not."""
    found = {(each.family, each.gw, each.priority or 0): each for each in defaults}
    return tuple(found.values())


def _through(gateways: Sequence[str], own: Sequence[Route]) -> list[Route]:
    """Routes in the order of *gateways*: the kernel takes the one with the lowest metric.

    They are as large as the network's *own* default route.
    """
    routes: list[Route] = []
    places = {4: 0, 6: 0}
    for gateway in gateways:
        family = _family(gateway)
        place = places[family]
        places[family] += 1
        priority = _METRICS[family] + place if place else None
        like = next((each for each in own if each.family == family), Route(_DEFAULTS[family]))
        routes.append(Route(like.dst, gateway, mtu=like.mtu, advmss=like.advmss, priority=priority))
    return routes


# --- The kernel's side ---------------------------------------------------------------------------


def _channel(invocation: Invocation) -> Channel:
    from multus.netlink import Namespace

    with Namespace(invocation.request.netns) as namespace:
        return namespace.channel()


def _apply(channel: Channel, before: Result, after: Result, invocation: Invocation) -> None:
    """Make the kernel's defaults those that are to be, in one batch.

    What is there already is not touched: it may have more than a result can say.
    """
    from multus.netlink import links, routes

    names = _interfaces(before, invocation)
    indexes = {name: link.index for name in names if (link := links.find(channel, name))}
    families = invocation.config["families"]
    there = [
        route
        for route in routes.list_all(channel)
        if route.index in indexes.values() and _is_kernel_default(route, families)
    ]
    target = indexes.get(names[0])
    wanted = [route for route in after.routes if _is_default(route, families)]
    if wanted and target is None:
        raise CheckFailed(
            f"interface {names[0]} is not in the pod, and the default route is to go through it"
        )
    messages = _changes(there, wanted, target or 0)
    if messages:
        channel.request(messages)


def _changes(there: Sequence[KernelRoute], wanted: Sequence[Route], target: int) -> list[Message]:
    """What makes the *wanted* defaults of those that are *there*."""
    from multus.netlink import routes

    families = [route.family for route in wanted]
    kept = [
        (route, each)
        for route in wanted
        for each in there
        if _is(route, each, target, alone=families.count(route.family) == 1)
    ]
    gone = [
        routes.delete(
            each.index,
            each.destination,
            gateway=each.gateway,
            priority=each.priority,
            missing_ok=True,
        )
        for each in there
        if all(each is not kernel for _, kernel in kept)
    ]
    missing = [route for route in wanted if all(route is not done for done, _ in kept)]
    return [*gone, *(_added(target, route, there) for route in missing)]


def _is(wanted: Route, kernel: KernelRoute, target: int, *, alone: bool) -> bool:
    """Whether a route of the kernel is the wanted one; numbers that are not said do not matter.

    Among several defaults of a family the metric always matters: it says which comes first.
    """
    usual = kernel.priority if alone else _METRICS[wanted.family]
    numbers = (
        (wanted.priority or usual, kernel.priority),
        (wanted.mtu or kernel.mtu, kernel.mtu),
        (wanted.advmss or kernel.advmss, kernel.advmss),
    )
    place = (target, _DEFAULTS[wanted.family], wanted.gw)
    return place == (kernel.index, kernel.destination, kernel.gateway) and all(
        asked == has for asked, has in numbers
    )


def _added(index: int, route: Route, there: Sequence[KernelRoute]) -> Message:
    """Add a route; what the result does not say of its size is that of the one replaced."""
    from multus.netlink import routes

    destination = _DEFAULTS[route.family]
    replaced = [each for each in there if each.destination == destination]
    like = sorted(replaced, key=lambda each: each.gateway != route.gw)[:1]
    return routes.add(
        index,
        destination,
        gateway=route.gw,
        scope=route.scope or routes.SCOPE_UNIVERSE,
        priority=route.priority or 0,
        mtu=route.mtu or sum(each.mtu for each in like),
        advmss=route.advmss or sum(each.advmss for each in like),
    )


def _kernel(channel: Channel, result: Result, invocation: Invocation) -> Iterable[tuple[str, str]]:
    from multus.netlink import links, routes

    names = _interfaces(result, invocation)
    indexes = {link.index for name in names if (link := links.find(channel, name))}
    for route in routes.list_all(channel):
        if route.index in indexes and _is_kernel_default(route, invocation.config["families"]):
            yield route.destination, route.gateway


def _interfaces(result: Result, invocation: Invocation) -> list[str]:
    """The attachment's interfaces in the pod, the first of them first."""
    found = [link.name for link in result.sandbox_interfaces()]
    return found or [invocation.ifname]


def _is_default(route: Route, families: Sequence[int]) -> bool:
    return route.is_default and route.family in families


def _is_kernel_default(route: KernelRoute, families: Sequence[int]) -> bool:
    wanted = [_DEFAULTS[family] for family in families]
    return route.destination in wanted and route.table == _TABLE_MAIN


def _family(address: str) -> int:
    return 6 if ":" in address else 4


def _words(routes: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{dst} via {gw or 'the link'}" for dst, gw in sorted(routes)) or "(none)"
