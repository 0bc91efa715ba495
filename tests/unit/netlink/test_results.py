"""A result is put onto a link, and CHECK's look finds every part of it that is gone."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from multus.api.errors import CheckFailed, InvalidConfig
from multus.api.result import IP, Interface, Result, Route
from multus.netlink import Channel, Namespace, Refused, create, links, results, sysctl
from multus.testing.netns import Netns

MAC = "02:00:5e:10:20:30"
V4, V6 = IP("10.1.2.3/24", "10.1.2.1"), IP("fd01::3/64", "fd01::1")
DEFAULTS = (Route("0.0.0.0/0"), Route("::/0"))

Apply = Callable[..., Result]


@pytest.fixture
def apply(namespace: Namespace, channel: Channel) -> Apply:
    """Makes a link, gives it a result, and returns what an ADD would report."""

    def run(result: Result, name: str = "eth0", **more: Any) -> Result:
        channel.request([create.veth(name, f"{name}-wire", mac=MAC), links.set_up(f"{name}-wire")])
        link = links.find(channel, name)
        assert link is not None
        results.apply(
            result, namespace=namespace, channel=channel, index=link.index, name=name, **more
        )
        interface = Interface(name, MAC, namespace.path)
        ips = tuple(evolve(ip, interface=0) for ip in result.ips)
        return evolve(result, interfaces=(interface,), ips=ips)

    return run


@pytest.mark.parametrize("alone", [True, False])
def test_what_is_applied_is_there_and_passes(
    apply: Apply, channel: Channel, netns: Netns, alone: bool
) -> None:
    more = Route("10.9.0.0/16", "10.1.2.7", mtu=1300, advmss=1200, priority=5, table=99)
    reported = apply(Result(ips=(V4, V6), routes=(*DEFAULTS, more)), alone=alone)
    link = results.check(reported, 0, channel, kind="veth")
    assert link.up
    assert netns.addresses("eth0") == ["10.1.2.3/24", "fd01::3/64"]
    (default,) = netns.ip("route", "show", "default")
    assert (default["gateway"], default["dev"]) == ("10.1.2.1", "eth0")
    (default,) = netns.ip("-6", "route", "show", "default")
    assert default["gateway"] == "fd01::1"
    (route,) = netns.ip("route", "show", "table", "99")
    assert (route["metric"], route["metrics"]) == (5, [{"mtu": 1300, "advmss": 1200}])
    with netns.inventory() as there:
        tentative = [each.address for each in there.addresses() if each.tentative]
    assert [each for each in tentative if not each.startswith("fe80:")] == []


def test_ipv6_that_is_switched_off_is_switched_on(
    apply: Apply, namespace: Namespace, channel: Channel
) -> None:
    with namespace.entered():
        sysctl.write("ipv6/conf/default/disable_ipv6", "1")
    apply(Result(ips=(V6,)), alone=True)
    with namespace.entered():
        assert sysctl.read("ipv6/conf/eth0/keep_addr_on_down") == "1"


CHANGES = {
    "the link": ("link delete eth0", "interface eth0 in /run/netns/.* is missing"),
    "its kind": ("link delete eth0; link add eth0 type bridge", "kind 'bridge', not veth"),
    "its state": ("link set eth0 down", "is down"),
    "its MAC": (
        f"link set eth0 address {MAC[:-1]}9",
        f"has MAC {MAC[:-1]}9, the record says {MAC}",
    ),
    "an address": ("address delete 10.1.2.3/24 dev eth0", "has no address 10.1.2.3/24"),
    "an IPv6 address": ("address delete fd01::3/64 dev eth0", "has no address fd01::3/64"),
    "the default route": ("route delete default", "the route to 0.0.0.0/0 is gone"),
    "the IPv6 default route": ("-6 route delete default", "the route to ::/0 is gone"),
    "a route's table": (
        "route delete 10.9.0.0/16 table 99; route add 10.9.0.0/16 via 10.1.2.7",
        "the route to 10.9.0.0/16 via 10.1.2.7 in table 99 is gone",
    ),
    "a route's gateway": (
        "route replace 10.9.0.0/16 via 10.1.2.8 table 99 metric 5",
        "the route to 10.9.0.0/16 via 10.1.2.7 in table 99 is gone",
    ),
    "a route's kind": (
        "route delete 10.9.0.0/16 table 99; route add blackhole 10.9.0.0/16 table 99 metric 5",
        "the route to 10.9.0.0/16 via 10.1.2.7 in table 99 is gone",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_is_found(
    apply: Apply, channel: Channel, netns: Netns, change: str
) -> None:
    commands, said = CHANGES[change]
    more = Route("10.9.0.0/16", "10.1.2.7", priority=5, table=99)
    reported = apply(Result(ips=(V4, V6), routes=(*DEFAULTS, more)), alone=True)
    for command in commands.split("; "):
        netns.ip(*command.split())
    with pytest.raises(CheckFailed, match=said):
        results.check(reported, 0, channel, kind="veth")


def test_other_spellings_are_the_same(apply: Apply, channel: Channel) -> None:
    reported = apply(Result(ips=(V6,), routes=(Route("fd09::/48", "fd01::7"),)), alone=True)
    spelt = evolve(
        reported,
        interfaces=(evolve(reported.interfaces[0], mac=MAC.upper()),),
        ips=(IP("FD01:0::0:3/64", interface=0),),
        routes=(Route("fd09:0:0:0::1/48", "fd01:0::7"),),
    )
    results.check(spelt, 0, channel)


def test_an_address_without_an_interface_is_the_only_ones(apply: Apply, channel: Channel) -> None:
    reported = apply(Result(ips=(V4,)))
    results.check(evolve(reported, ips=(evolve(V4, interface=None),)), 0, channel)
    wrong = evolve(reported, ips=(IP("10.1.2.9/24"),))
    with pytest.raises(CheckFailed, match=r"10\.1\.2\.9"):
        results.check(wrong, 0, channel)
    two = (*reported.interfaces, evolve(reported.interfaces[0], name="net7"))
    results.check(evolve(wrong, interfaces=two), 0, channel)


def test_of_two_default_routes_the_later_is_first(apply: Apply, netns: Netns) -> None:
    """As the reference plugins do; a pod's ``default-route`` is what chooses."""
    apply(Result(ips=(V4, V6), routes=DEFAULTS), alone=True)
    later = Result(
        ips=(IP("10.5.0.2/24", "10.5.0.1"), IP("fd05::2/64", "fd05::1")), routes=DEFAULTS
    )
    apply(later, name="net1", alone=True)
    gateways = [route["gateway"] for route in netns.ip("route", "show", "default")]
    assert gateways == ["10.5.0.1", "10.1.2.1"]
    hops = [
        hop["gateway"]
        for route in netns.ip("-6", "route", "show", "default")
        for hop in route.get("nexthops", [route])
    ]
    assert sorted(hops) == ["fd01::1", "fd05::1"]


def test_a_route_that_is_named_twice_counts_once(apply: Apply, netns: Netns) -> None:
    apply(Result(ips=(V4,), routes=(DEFAULTS[0], DEFAULTS[0], Route("0.0.0.0/0", "10.1.2.1"))))
    assert len(netns.ip("route", "show", "default")) == 1


def test_what_the_kernel_refuses_is_told(apply: Apply) -> None:
    with pytest.raises(Refused, match=r"add route 10\.9\.0\.0/16 via 192\.0\.2\.1") as caught:
        apply(Result(ips=(V4,), routes=(Route("10.9.0.0/16", "192.0.2.1"),)))
    assert caught.value.errno == errno.ENETUNREACH


@pytest.mark.parametrize("odd", [Result(ips=(IP("nowhere"),)), Result(routes=(Route("x/y"),))])
def test_what_is_no_address_is_refused(apply: Apply, odd: Result) -> None:
    with pytest.raises(InvalidConfig):
        apply(odd)


def test_messages_of_the_callers_follow_the_routes(apply: Apply, channel: Channel) -> None:
    apply(Result(ips=(V4,)), then=[links.set_mtu("eth0", 1234)])
    link = links.find(channel, "eth0")
    assert link is not None
    assert link.mtu == 1234
