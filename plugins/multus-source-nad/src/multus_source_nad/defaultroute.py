"""The default route of a pod whose annotation names the network that has it.

Every delegate of such a pod gets an additional step at the end of its chain.  The step computes the
attachment's final default routes, sets them in the pod's namespace, and reports them in the result.
So the journal, CHECK and the answer agree with the kernel.

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
from multus.api.problem import remark
from multus.api.result import Result, Route
from multus.api.where import path_of

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Delegate, Element, Invocation
    from multus.netlink import Channel
    from multus.netlink.routes import Route as KernelRoute
    from multus.netlink.wire import Message

TYPE = "multus-default-route"
KEY = "default-route"
_DEFAULTS = {4: "0.0.0.0/0", 6: "::/0"}
#: The kernel's default metric of an IPv6 route (``IP6_RT_PRIO_USER``).
_METRICS = {4: 0, 6: 1024}
#: ``RT_TABLE_MAIN``: the table of routes that name none.
_TABLE_MAIN = 254


def settled(elements: Sequence[Element]) -> tuple[Element, ...]:
    """*elements*, of which only those that get a default route keep ``default-route``.

    As on the Go Multus, one element may have the route of IPv4 and another one that of IPv6.  An
    empty list means the gateways of the network's plugins: it counts when no element names a
    gateway, and then for the first.  Raises ``InvalidConfig`` when two elements name gateways of
    one family.
    """
    asking = [each for each in elements if KEY in each.options]
    naming = [each for each in asking if each.options[KEY]]
    owners: dict[int, Element] = {}
    for each in naming:
        for family in {_family(gateway) for gateway in each.options[KEY]}:
            other = owners.setdefault(family, each)
            if other is not each:
                raise InvalidConfig(
                    f"{other.origin} and {each.origin} both name a gateway of IPv{family} in"
                    f" {KEY!r}",
                    path=path_of(each.origin),
                    fix="keep it on one",
                )
    served = {id(each) for each in naming or asking[:1]}
    return tuple(
        _without(each) if KEY in each.options and id(each) not in served else each
        for each in elements
    )


def _without(element: Element) -> Element:
    said = remark(
        (*path_of(element.origin), KEY),
        "is empty, and another network has the default route: it is ignored",
        "keep it on one",
    )
    options = {key: value for key, value in element.options.items() if key != KEY}
    return evolve(element, options=options, remarks=(*element.remarks, said))


def chosen_gateways(elements: Iterable[Element]) -> tuple[str, ...] | None:
    """The gateways of settled *elements*; None when none requests a default route.

    Empty gateways mean those of the network's plugins.
    """
    asking = [each.options[KEY] for each in elements if KEY in each.options]
    return tuple(gateway for each in asking for gateway in each) if asking else None


def step_for(delegate: Delegate, gateways: Sequence[str]) -> Plugin:
    """The step of one network, for a pod whose default routes go through *gateways*.

    The step changes only the families of the gateways; both when *gateways* is empty.
    """
    families = sorted({_family(each) for each in gateways}) or [4, 6]
    config: dict[str, Any] = {"type": TYPE, "families": families}
    if KEY in delegate.options:
        config["gateways"] = list(delegate.options[KEY])
    return Plugin(config)


@hookimpl
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | None:
    """Offer the invoker of the default-route step."""
    return DefaultRoute() if plugin.type == TYPE else None


class DefaultRoute(Invoker):
    """Sets the default routes of an attachment, and removes all others.

    Keys: ``families``, the address families that it changes; ``gateways``, the gateways of the
    default routes, empty for those of the previous plugin.  Without ``gateways`` the attachment
    gets no default route.
    """

    name = "default-route"
    leaves_nothing = True  # the kernel deletes the routes with the interface

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
                f"interface {invocation.ifname} has the default routes {_words(found)}, but it"
                f" must have {_words(wanted)}",
                fix="delete the pod, or correct its routes",
            )


def final_routes(before: Result, invocation: Invocation) -> Result:
    """The result with the attachment's final default routes."""
    families: Sequence[int] = invocation.config["families"]
    others = tuple(route for route in before.routes if not _is_default(route, families))
    gateways = invocation.config.get("gateways")
    if gateways is None:
        return evolve(before, routes=others)
    named = before.gateways
    own = _distinct(
        # A route without a gateway uses the address's (CNI 1.1, "ADD Success").
        evolve(route, gw=route.gw or named.get(route.family, ""))
        for route in before.routes
        if _is_default(route, families)
    )
    if gateways:
        return evolve(before, routes=(*others, *_through(gateways, own)))
    given = {route.family for route in own}
    # Many IPAM plugins return a gateway without a default route.
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
    """One route for each gateway and metric, whether or not the main table is named."""
    found = {(each.family, each.gw, each.priority or 0): each for each in defaults}
    return tuple(found.values())


def _through(gateways: Sequence[str], own: Sequence[Route]) -> list[Route]:
    """Routes with metrics in the order of *gateways*: the kernel uses the lowest metric.

    They have the ``mtu`` and ``advmss`` of the network's *own* default route.
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
    """Change the kernel's default routes to those of *after*, in one batch.

    Existing equal routes stay: they may have attributes that a result cannot express.
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
        raise CheckFailed(f"interface {names[0]} of the default route does not exist in the pod")
    messages = _changes(there, wanted, target or 0)
    if messages:
        channel.request(messages)


def _changes(there: Sequence[KernelRoute], wanted: Sequence[Route], target: int) -> list[Message]:
    """The messages that change the routes *there* into the *wanted* ones."""
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
    """Whether a kernel route equals the wanted one; numbers that are not set are not compared.

    With several default routes of a family the metric is always compared: it sets the order.
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
    """Add a route; an ``mtu`` or ``advmss`` that is not set is copied from the replaced route."""
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
    """The names of the attachment's interfaces in the pod, in the result's order."""
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
