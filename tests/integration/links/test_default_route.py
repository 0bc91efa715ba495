"""The default-route step, in a real network namespace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve, frozen

from multus.api.result import IP, Interface, Result, Route
from multus.inprocess.defaultroute import DefaultRoute
from multus.netlink import Namespace, addresses, create, links, routes
from multus.testing.invocation import Caller
from multus.testing.netns import Netns

V4, V6 = "0.0.0.0/0", "::/0"


@frozen
class Pod:
    """A pod with net1: 10.1.0.2/24 and fd01::2/64, and routes as they are given."""

    netns: Netns

    def make(self, *defaults: Route, **more: Any) -> Result:
        """The attachment, with these default routes in the kernel and in its result."""
        with Namespace(self.netns.path) as namespace, namespace.channel() as channel:
            channel.request([create.veth("net1", "far"), links.set_up("far")])
            channel.request([links.set_up("net1")])
            link = links.find(channel, "net1")
            assert link is not None
            channel.request(
                [
                    addresses.add(link.index, "10.1.0.2/24"),
                    *addresses.add_settled(link.index, "fd01::2/64"),
                    *(
                        routes.add(
                            link.index,
                            each.dst,
                            gateway=each.gw,
                            mtu=more.get("mtu", each.mtu or 0),
                            advmss=more.get("advmss", each.advmss or 0),
                            priority=more.get("priority", each.priority or 0),
                        )
                        for each in dict.fromkeys(evolve(d, table=None) for d in defaults)
                    ),
                ]
            )
        return Result(
            interfaces=(Interface("net1", sandbox=self.netns.path),),
            ips=(IP("10.1.0.2/24", "10.1.0.1", 0), IP("fd01::2/64", "fd01::1", 0)),
            routes=tuple(defaults),
        )

    def add(self, before: Result, **config: Any) -> Result:
        invocation = self._caller.invocation("ADD", self._config(config), before)
        return DefaultRoute().add(invocation)

    def check(self, result: Result, **config: Any) -> None:
        DefaultRoute().check(self._caller.invocation("CHECK", self._config(config), result))

    def defaults(self) -> list[tuple[str, str, int, int, int]]:
        """Destination, gateway, mtu, advmss and priority of the kernel's default routes."""
        with Namespace(self.netns.path) as namespace, namespace.channel() as channel:
            return [
                (each.destination, each.gateway, each.mtu, each.advmss, each.priority)
                for each in routes.list_all(channel)
                if each.destination in (V4, V6) and each.table == routes.TABLE_MAIN
                if each.kind == 1
            ]

    @property
    def _caller(self) -> Caller:
        return Caller(netns=self.netns.path, ifname="net1")

    def _config(self, config: dict[str, Any]) -> dict[str, Any]:
        return {"type": "multus-default-route", "families": [4], **config}


@pytest.fixture
def pod() -> Iterator[Pod]:
    netns = Netns.create("nad")
    yield Pod(netns)
    netns.remove()


def test_the_networks_own_default_keeps_mtu_advmss_and_priority(pod: Pod) -> None:
    own = Route(V4, "10.1.0.1", mtu=1400, advmss=1300, priority=50)
    after = pod.add(pod.make(own), gateways=[])
    assert after.routes == (own,)
    assert pod.defaults() == [(V4, "10.1.0.1", 1400, 1300, 50)]
    pod.check(after, gateways=[])


def test_so_do_those_of_both_families(pod: Pod) -> None:
    own = (
        Route(V4, "10.1.0.1", mtu=1400, advmss=1300),
        Route(V6, "fd01::1", mtu=1380, advmss=1280, priority=77),
    )
    after = pod.add(pod.make(*own), gateways=[], families=[4, 6])
    assert after.routes == own
    assert pod.defaults() == [(V4, "10.1.0.1", 1400, 1300, 0), (V6, "fd01::1", 1380, 1280, 77)]


def test_what_a_result_cannot_say_is_kept_as_well(pod: Pod) -> None:
    """Results before CNI 1.1 have no mtu or metric of routes, but the kernel's routes do."""
    before = pod.make(Route(V4, "10.1.0.1"), mtu=1400, advmss=1300, priority=50)
    assert pod.add(before, gateways=[]).routes == (Route(V4, "10.1.0.1"),)
    assert pod.defaults() == [(V4, "10.1.0.1", 1400, 1300, 50)]


def test_another_gateway_has_the_size_of_the_route_that_it_replaces(pod: Pod) -> None:
    own = Route(V4, "10.1.0.1", mtu=1400, advmss=1300)
    after = pod.add(pod.make(own), gateways=["10.1.0.254", "10.1.0.253"])
    assert after.routes == (
        evolve(own, gw="10.1.0.254"),
        evolve(own, gw="10.1.0.253", priority=1),
    )
    assert pod.defaults() == [
        (V4, "10.1.0.254", 1400, 1300, 0),
        (V4, "10.1.0.253", 1400, 1300, 1),
    ]
    pod.check(after, gateways=["10.1.0.254", "10.1.0.253"])


def test_several_gateways_are_in_order_whatever_metric_was_there(pod: Pod) -> None:
    before = pod.make(Route(V4, "10.1.0.30"), priority=100)
    pod.add(before, gateways=["10.1.0.30", "10.1.0.20"])
    assert pod.defaults() == [(V4, "10.1.0.30", 0, 0, 0), (V4, "10.1.0.20", 0, 0, 1)]


def test_also_when_its_result_does_not_say_it(pod: Pod) -> None:
    before = pod.make(Route(V4, "10.1.0.1"), mtu=1400, advmss=1300)
    pod.add(before, gateways=["10.1.0.254"])
    assert pod.defaults() == [(V4, "10.1.0.254", 1400, 1300, 0)]


@pytest.mark.parametrize("table", [0, 254])
def test_a_default_that_names_the_main_table_is_the_default(pod: Pod, table: int) -> None:
    own = Route(V4, "10.1.0.1", table=table)
    after = pod.add(pod.make(own), gateways=[])
    assert after.routes == (own,)
    assert len(pod.defaults()) == 1
    pod.check(after, gateways=[])


@pytest.mark.parametrize("gateways", [[], ["10.1.0.1"]])
def test_it_is_not_reported_twice(pod: Pod, gateways: list[str]) -> None:
    before = pod.make(Route(V4, "10.1.0.1"), Route(V4, "10.1.0.1", table=254))
    after = pod.add(before, gateways=gateways)
    assert [(each.dst, each.gw) for each in after.routes] == [(V4, "10.1.0.1")]
    assert len(pod.defaults()) == 1


def test_one_that_names_the_main_table_goes_like_any_other(pod: Pod) -> None:
    before = pod.make(Route(V4, "10.1.0.1", table=254))
    assert pod.add(before).routes == ()
    assert pod.defaults() == []


def test_a_default_of_another_table_stays(pod: Pod) -> None:
    before = pod.make()
    other = Route(V4, "10.1.0.1", table=100)
    assert pod.add(evolve(before, routes=(other,))).routes == (other,)
