from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from multus.api.errors import InvalidConfig
from multus.netlink import Channel, Refused, addresses, create, links, neighbours, routes
from multus.testing.netns import Netns


@pytest.fixture
def index(channel: Channel) -> Iterator[int]:
    """A link that is up, with 10.1.2.3/24 and fd00::3/64."""
    channel.request([create.veth("a0", "a1"), links.set_up("a0"), links.set_up("a1")])
    found = links.find(channel, "a0")
    assert found is not None
    channel.request(
        [
            addresses.add(found.index, "10.1.2.3/24"),
            *addresses.add_settled(found.index, "fd00::3/64"),
        ]
    )
    yield found.index


def ours(channel: Channel, family: int = socket.AF_UNSPEC) -> list[routes.Route]:
    """The routes that a program added, not the kernel."""
    return [route for route in routes.list_all(channel, family) if route.protocol == 3]


@pytest.mark.parametrize(
    ("destination", "gateway"),
    [
        ("0.0.0.0/0", "10.1.2.1"),
        ("::/0", "fd00::1"),
        ("10.2.0.0/16", "10.1.2.1"),
        ("fd01::/48", ""),
    ],
)
def test_a_route_is_added_listed_and_deleted(
    channel: Channel, index: int, destination: str, gateway: str
) -> None:
    channel.request([routes.add(index, destination, gateway=gateway)])
    assert [(r.destination, r.gateway, r.index, r.table) for r in ours(channel)] == [
        (destination, gateway, index, routes.TABLE_MAIN)
    ]
    channel.request([routes.delete(index, destination, gateway=gateway)])
    assert ours(channel) == []


def test_everything_that_a_route_can_have_comes_back(channel: Channel, index: int) -> None:
    channel.request(
        [
            routes.add(
                index,
                "10.2.0.0/16",
                gateway="192.0.2.1",
                source="10.1.2.3",
                table=1000,
                priority=50,
                mtu=1300,
                advmss=1200,
                onlink=True,
            )
        ]
    )
    (route,) = ours(channel)
    assert (route.gateway, route.source, route.table) == ("192.0.2.1", "10.1.2.3", 1000)
    assert (route.priority, route.mtu, route.advmss) == (50, 1300, 1200)


def test_the_route_that_comes_with_an_address_is_deleted(channel: Channel, index: int) -> None:
    channel.request([routes.delete(index, "10.1.2.0/24"), routes.delete(index, "fd00::/64")])
    left = {route.destination for route in routes.list_all(channel) if route.table == 254}
    assert left.isdisjoint({"10.1.2.0/24", "fd00::/64"})


def test_a_route_twice_is_an_error_unless_it_is_said(channel: Channel, index: int) -> None:
    again = [routes.add(index, "10.2.0.0/16")] * 2
    with pytest.raises(Refused) as caught:
        channel.request(again)
    assert caught.value.errno == errno.EEXIST
    channel.request([routes.add(index, "10.2.0.0/16", exists_ok=True)])


def test_routes_that_are_not_exclusive_become_one_with_two_hops(
    channel: Channel, index: int
) -> None:
    channel.request(
        [
            routes.add(index, "fd01::/48", gateway="fd00::1", exclusive=False),
            routes.add(index, "fd01::/48", gateway="fd00::2", exclusive=False),
        ]
    )
    assert {route.gateway for route in ours(channel, socket.AF_INET6)} == {"fd00::1", "fd00::2"}


def test_one_family_is_listed_alone(channel: Channel, index: int) -> None:
    channel.request([routes.add(index, "10.2.0.0/16"), routes.add(index, "fd01::/48")])
    assert [route.destination for route in ours(channel, socket.AF_INET)] == ["10.2.0.0/16"]
    assert [route.destination for route in ours(channel, socket.AF_INET6)] == ["fd01::/48"]


def test_the_routes_through_one_interface_are_listed_alone(channel: Channel, index: int) -> None:
    other = links.find(channel, "a1")
    assert other is not None
    channel.request(
        [
            routes.add(other.index, "10.3.0.0/16"),
            routes.add(other.index, "fd03::/48"),
            routes.add(index, "10.4.0.0/16"),
        ]
    )
    through = [each for each in routes.list_all(channel, index=other.index) if each.protocol == 3]
    assert {each.destination for each in through} == {"10.3.0.0/16", "fd03::/48"}


def test_deleting_a_route_that_is_missing(channel: Channel, index: int) -> None:
    with pytest.raises(Refused) as caught:
        channel.request([routes.delete(index, "10.2.0.0/16")])
    assert caught.value.errno == errno.ESRCH
    channel.request([routes.delete(index, "10.2.0.0/16", missing_ok=True)])


def test_a_gateway_out_of_reach_is_refused_in_the_kernels_words(
    channel: Channel, index: int
) -> None:
    with pytest.raises(Refused) as caught:
        channel.request([routes.add(index, "0.0.0.0/0", gateway="192.0.2.1")])
    assert "invalid gateway" in caught.value.msg
    assert "via 192.0.2.1" in caught.value.msg


def test_an_invalid_destination_is_refused() -> None:
    with pytest.raises(InvalidConfig):
        routes.add(1, "somewhere")


def test_neighbours_are_added_and_deleted(netns: Netns, channel: Channel, index: int) -> None:
    mac = "02:00:5e:10:20:30"
    channel.request(
        [
            neighbours.add(index, "10.1.2.1", mac),
            neighbours.add(index, "fd00::1", mac),
            neighbours.add_proxy(index, "fd00::7"),
        ]
    )
    shown = {each["dst"]: each.get("lladdr") for each in netns.ip("neighbour", "show", "dev", "a0")}
    assert (shown["10.1.2.1"], shown["fd00::1"]) == (mac, mac)
    proxies = netns.ip("neighbour", "show", "proxy", "dev", "a0")
    assert [each["dst"] for each in proxies] == ["fd00::7"]
    channel.request([neighbours.delete(index, "10.1.2.1"), neighbours.delete(index, "fd00::1")])
    with pytest.raises(Refused) as caught:
        channel.request([neighbours.delete(index, "10.1.2.1")])
    assert caught.value.errno == errno.ENOENT
    channel.request([neighbours.delete(index, "10.1.2.1", missing_ok=True)])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in ("mtu", "advmss", "priority", "table") for value in (-1, 2**32)),
        ("scope", -1),
        ("scope", 256),
    ],
)
def test_a_number_that_does_not_fit_is_named(key: str, value: int) -> None:
    numbers: dict[str, Any] = {key: value}
    with pytest.raises(InvalidConfig, match=f"the {key} of the route to 10.2.0.0/16 is {value}"):
        routes.add(1, "10.2.0.0/16", **numbers)


def test_the_largest_numbers_that_fit_are_encoded() -> None:
    top = 2**32 - 1
    routes.add(1, "::/0", mtu=top, advmss=top, priority=top, table=top, scope=255)


def test_of_two_routes_the_one_with_the_priority_is_deleted(channel: Channel, index: int) -> None:
    for priority in (10, 20):
        route = routes.add(index, "0.0.0.0/0", gateway="10.1.2.1", priority=priority)
        channel.request([route])
    channel.request([routes.delete(index, "0.0.0.0/0", gateway="10.1.2.1", priority=20)])
    assert [route.priority for route in ours(channel)] == [10]


def test_a_copy_in_another_table_has_all_that_the_route_has(
    channel: Channel, index: int, netns: Netns
) -> None:
    channel.request(
        [
            routes.add(index, "0.0.0.0/0", gateway="10.9.9.9", onlink=True, priority=7, mtu=1300),
            routes.add(index, "fd01::/48", gateway="fd00::1", advmss=1200),
        ]
    )
    for table in (100, 1000):
        listed = routes.list_all(channel, index=index)
        mine = [each for each in listed if each.table == routes.TABLE_MAIN]
        for _twice in range(2):  # it replaces
            channel.request([routes.copy(each, table) for each in mine])
        for version in ("-4", "-6"):
            shown = [
                [{**each, "flags": sorted(set(each["flags"]) - {"linkdown"})} for each in found]
                for found in (
                    netns.ip(version, "route", "show", "proto", "boot", "table", str(each))
                    for each in ("main", table)
                )
            ]
            assert shown[0] == shown[1]


def test_a_route_that_replaces_takes_the_place_of_the_kernels(channel: Channel, index: int) -> None:
    channel.request([routes.add(index, "10.1.2.0/24", scope=routes.SCOPE_LINK, replace=True)])
    listed = routes.list_all(channel, socket.AF_INET, index=index)
    (route,) = (each for each in listed if each.destination == "10.1.2.0/24")
    assert (route.protocol, route.source) == (3, "")
