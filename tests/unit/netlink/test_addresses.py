from __future__ import annotations

import errno
import ipaddress
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import PATIENCE, eventually

from multus.api.errors import InvalidConfig, KernelRefused
from multus.netlink import Channel, Namespace, Refused, addresses, create, links, sysctl
from multus.testing.netns import Netns


@pytest.fixture
def pair(channel: Channel) -> Iterator[tuple[int, int]]:
    """The indexes of a veth's ends: the first up, the other one not yet."""
    channel.request([create.veth("a0", "a1"), links.set_up("a0")])
    near = links.find(channel, "a0")
    assert near is not None
    yield near.index, near.peer


def texts(channel: Channel, index: int) -> set[str]:
    return {found.address for found in addresses.list_of(channel, index) if not found.scope}


def test_addresses_of_both_families_are_added_listed_and_deleted(
    channel: Channel, pair: tuple[int, int]
) -> None:
    index, other = pair
    channel.request(
        [
            addresses.add(index, "10.1.2.3/24"),
            addresses.add(index, "fd00::3/64"),
            addresses.add(other, "10.9.9.9/32"),
        ]
    )
    assert texts(channel, index) == {"10.1.2.3/24", "fd00::3/64"}
    four = addresses.list_of(channel, index, socket.AF_INET)
    assert [(each.broadcast, each.label, each.tentative) for each in four] == [
        ("10.1.2.255", "a0", False)
    ]
    channel.request([addresses.delete(index, "10.1.2.3/24"), addresses.delete(index, "fd00::3/64")])
    assert texts(channel, index) == set()


def test_an_address_twice_is_an_error(channel: Channel, pair: tuple[int, int]) -> None:
    with pytest.raises(Refused) as caught:
        channel.request([addresses.add(pair[0], "10.1.2.3/24")] * 2)
    assert (caught.value.position, caught.value.errno) == (1, errno.EEXIST)


def test_deleting_an_address_that_is_missing(channel: Channel, pair: tuple[int, int]) -> None:
    with pytest.raises(Refused) as caught:
        channel.request([addresses.delete(pair[0], "10.1.2.3/24")])
    assert caught.value.errno == errno.EADDRNOTAVAIL
    channel.request([addresses.delete(pair[0], "10.1.2.3/24", missing_ok=True)])


def test_a_settled_address_looks_like_any_other_and_works_at_once(
    netns: Netns, channel: Channel, pair: tuple[int, int]
) -> None:
    index, other = pair
    channel.request([links.set_up(other), *addresses.add_settled(index, "fd00::3/64")])
    info = [
        each
        for each in netns.ip("address", "show", "dev", "a0")[0]["addr_info"]
        if each["local"] == "fd00::3"
    ]
    assert info[0].keys().isdisjoint({"tentative", "nodad", "optimistic", "dadfailed"})

    def can_be_used() -> bool:
        with (
            Namespace(netns.path) as namespace,
            namespace.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock,
            suppress(OSError),
        ):
            sock.bind(("fd00::3", 0))
            return True
        return False

    eventually(can_be_used)  # the kernel adds its routes in a worker


def test_settling_waits_until_no_address_is_tentative(
    channel: Channel, pair: tuple[int, int]
) -> None:
    index, other = pair
    channel.request([links.set_up(other), addresses.add(index, "fd00::3/64")])
    assert any(each.tentative for each in addresses.list_of(channel, index))
    addresses.settle(channel, index, seconds=PATIENCE)
    assert not any(each.tentative for each in addresses.list_of(channel, index))


def test_settling_does_not_wait_where_nothing_is_tentative(
    channel: Channel, pair: tuple[int, int]
) -> None:
    channel.request([addresses.add(pair[0], "10.1.2.3/24")])
    started = time.monotonic()
    addresses.settle(channel, pair[0], seconds=600)
    assert time.monotonic() - started < PATIENCE


def test_settling_without_carrier_gives_up_in_peace(
    channel: Channel, pair: tuple[int, int]
) -> None:
    channel.request([addresses.add(pair[0], "fd00::3/64")])
    addresses.settle(channel, pair[0], seconds=0.1)
    assert any(each.tentative for each in addresses.list_of(channel, pair[0]))


def test_settling_with_carrier_gives_up_with_an_error(
    channel: Channel, namespace: Namespace, pair: tuple[int, int]
) -> None:
    index, other = pair
    with namespace.entered():
        sysctl.write("ipv6/conf/a0/dad_transmits", "600")
    channel.request([links.set_up(other), addresses.add(index, "fd00::3/64")])
    eventually(lambda: links.list_all(channel)[-1].carrier)
    with pytest.raises(KernelRefused, match="tentative"):
        addresses.settle(channel, index, seconds=0)


def test_an_address_that_another_host_has_is_an_error(
    namespace: Namespace, channel: Channel, pair: tuple[int, int]
) -> None:
    index, other = pair
    netns = Netns.create("nl")
    try:
        with Namespace(netns.path) as elsewhere, elsewhere.channel() as there:
            channel.request([links.move(other, elsewhere, "far")])
            there.request([links.set_up("far")])
            far = links.find(there, "far")
            assert far is not None
            there.request(addresses.add_settled(far.index, "fd00::3/64"))
            with namespace.entered():
                sysctl.write("ipv6/conf/a0/dad_transmits", "3")
            channel.request([addresses.add(index, "fd00::3/64")])
            with pytest.raises(KernelRefused, match="duplicate"):
                addresses.settle(channel, index, seconds=PATIENCE)
    finally:
        netns.remove()


@pytest.mark.parametrize(
    "wrong",
    ["", "10.1.2", "10.1.2.3/33", "fd00::/129", "10.1.2.3/x", "fd00::3/-1", "name", "1.2.3.4/"],
)
def test_an_invalid_address_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidConfig):
        addresses.add(1, wrong)


@given(st.ip_addresses(), st.integers(0, 128))
def test_the_network_of_an_address_is_the_one_that_ipaddress_knows(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, prefix: int
) -> None:
    text = f"{address}/{min(prefix, address.max_prefixlen)}"
    expected = ipaddress.ip_interface(text).network
    assert ipaddress.ip_network(addresses.network_of(text)) == expected
