"""The step that decides about an attachment's default routes: see ``multus.api.defaultroute``.

What real plugins do with ``0.0.0.0/0`` of several networks: they add each without NLM_F_EXCL, and
the kernel puts a route of IPv4 before an equal one, so the last network has it; of IPv6 it makes
one route with two next hops.  An attachment that yields loses its own again.

Source: linux/rtnetlink.h; NPWG standard 1.3, section 4.1.2.1.9.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.errors import CheckFailed, InvalidConfig
from multus.api.invoker import Invoker
from multus.api.result import EVERYWHERE, Result, Route

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.netlink import Channel
    from multus.netlink.routes import Route as KernelRoute
    from multus.netlink.wire import Message

#: The kernel's default metric of an IPv6 route (``IP6_RT_PRIO_USER``).
_METRICS = {4: 0, 6: 1024}
#: ``RT_TABLE_MAIN``: the table of routes that name none.
_TABLE_MAIN = 254
#: ``RTPROT_RA``: routes that the kernel sets by itself, from a router's advertisements.
_ADVERTISED = 9


class DefaultRoute(Invoker):
    """Sets the default routes of an attachment, and removes all others.

    Keys: ``families``, the address families that it changes; ``gateways``, the gateways of the
    default routes, empty for those of the previous plugin.  Without ``gateways`` the attachment
    gets no default route; with ``yields``, none of a family in which an earlier one has some.
    """

    name = "default-route"
    leaves_nothing = True  # the kernel deletes the routes with the interface

    def add(self, invocation: Invocation) -> Result:
        before = invocation.prev_result or Result()
        families: Sequence[int] = invocation.config["families"]
        yields = bool(invocation.config.get("yields"))
        if yields and not os.path.exists(invocation.request.netns):
            return (
                before  # as its plugins, which attached it: a namespace that is gone has no route
            )
        with _channel(invocation) as channel:
            if yields:
                families = _taken(channel, before, invocation, families)
            after = final_routes(before, families, invocation.config.get("gateways"))
            _apply(channel, before, after, invocation, families)
        return after

    def check(self, invocation: Invocation) -> None:
        result = invocation.prev_result or Result()
        families: Sequence[int] = invocation.config["families"]
        if invocation.config.get("yields"):
            # Where it has a default route it need not yield: that route is compared like any other.
            own = {route.family for route in result.routes if route.is_default}
            families = [family for family in families if family not in own]
        wanted = {
            (EVERYWHERE[route.family], route.gw)
            for route in result.routes
            if _is_default(route, families)
        }
        with _channel(invocation) as channel:
            indexes = _indexes(channel, result, invocation).values()
            found = {
                (route.destination, route.gateway)
                for route in _defaults(channel, families)
                if route.index in indexes
            }
        if wanted != found:
            raise CheckFailed(
                f"interface {invocation.ifname} has the default routes {_words(found)}, but it"
                f" must have {_words(wanted)}",
                fix="delete the pod, or correct its routes",
            )


def _taken(
    channel: Channel, before: Result, invocation: Invocation, families: Sequence[int]
) -> list[int]:
    """The families in which another attachment of the container has a default route."""
    own = _indexes(channel, before, invocation).values()
    others = [route for route in _defaults(channel, families) if route.index not in own]
    destinations = {route.destination for route in others}
    return [family for family in families if EVERYWHERE[family] in destinations]


def final_routes(before: Result, families: Sequence[int], gateways: Sequence[str] | None) -> Result:
    """The result with the attachment's final default routes."""
    others = tuple(route for route in before.routes if not _is_default(route, families))
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
        Route(EVERYWHERE[family], gateway)
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
        like = next((each for each in own if each.family == family), Route(EVERYWHERE[family]))
        routes.append(Route(like.dst, gateway, mtu=like.mtu, advmss=like.advmss, priority=priority))
    return routes


# --- The kernel's side ---------------------------------------------------------------------------


def _channel(invocation: Invocation) -> Channel:
    from multus.netlink import Namespace

    with Namespace(invocation.request.netns) as namespace:
        return namespace.channel()


def _apply(
    channel: Channel,
    before: Result,
    after: Result,
    invocation: Invocation,
    families: Sequence[int],
) -> None:
    """Change the kernel's default routes to those of *after*, in one batch.

    Existing equal routes stay: they may have attributes that a result cannot express.
    """
    if not families:
        return
    indexes = _indexes(channel, before, invocation)
    defaults = list(_defaults(channel, families))
    there = [each for each in defaults if each.index in indexes.values()]
    name = _interfaces(before, invocation)[0]
    target = indexes.get(name)
    wanted = [route for route in after.routes if _is_default(route, families)]
    if wanted and target is None:
        raise CheckFailed(f"interface {name} of the default route does not exist in the pod")
    if invocation.config.get("gateways") is not None:
        _require_free(wanted, [each for each in defaults if each not in there])
    messages = _changes(there, wanted, target or 0)
    if messages:
        channel.request(messages)


def _require_free(wanted: Sequence[Route], others: Sequence[KernelRoute]) -> None:
    """Raise ``InvalidConfig`` when another interface has one of the *wanted* default routes.

    While a pod comes up, none has: this step has removed them.  The primary of a running pod, which
    is not changed, may have one.
    """
    taken = {(each.destination, each.priority): each.gateway for each in others}
    for route in wanted:
        place = (EVERYWHERE[route.family], route.priority or _METRICS[route.family])
        if place in taken:
            raise InvalidConfig(
                f"'default-route' asks for the default route of IPv{route.family}, and another"
                f" interface of the pod has it, via {taken[place] or 'its link'}",
                fix="create the pod anew: its other interfaces then get none",
            )


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
    place = (target, EVERYWHERE[wanted.family], wanted.gw)
    return place == (kernel.index, kernel.destination, kernel.gateway) and all(
        asked == has for asked, has in numbers
    )


def _added(index: int, route: Route, there: Sequence[KernelRoute]) -> Message:
    """Add a route; an ``mtu`` or ``advmss`` that is not set is copied from the replaced route."""
    from multus.netlink import routes

    destination = EVERYWHERE[route.family]
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


def _indexes(channel: Channel, result: Result, invocation: Invocation) -> dict[str, int]:
    """The attachment's interfaces that are in the container, with their indexes."""
    from multus.netlink import links

    names = _interfaces(result, invocation)
    return {name: link.index for name in names if (link := links.find(channel, name))}


def _defaults(channel: Channel, families: Sequence[int]) -> Iterator[KernelRoute]:
    """The default routes of all interfaces that somebody has set in the main table."""
    from multus.netlink import routes

    wanted = [EVERYWHERE[family] for family in families]
    for route in routes.list_all(channel):
        if route.destination not in wanted or route.table != _TABLE_MAIN:
            continue
        if route.kind == routes.UNICAST and route.protocol != _ADVERTISED:
            yield route


def _interfaces(result: Result, invocation: Invocation) -> list[str]:
    """The names of the attachment's interfaces in the pod, in the result's order."""
    found = [link.name for link in result.sandbox_interfaces()]
    return found or [invocation.ifname]


def _is_default(route: Route, families: Sequence[int]) -> bool:
    return route.is_default and route.family in families


def _family(address: str) -> int:
    return 6 if ":" in address else 4


def _words(routes: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{dst} via {gw or 'the link'}" for dst, gw in sorted(routes)) or "(none)"
