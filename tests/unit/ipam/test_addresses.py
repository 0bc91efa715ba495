"""Addresses as numbers: printed as by Go's net package, with the same arithmetic as netaddr."""

from __future__ import annotations

import netaddr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multus.ipam.addresses import Address, Network

V4 = st.integers(0, 2**32 - 1)
V6 = st.integers(0, 2**128 - 1).filter(lambda value: value >> 32 != 0xFFFF)


@given(V4)
def test_ipv4_text_is_netaddrs_and_is_read_back(value: int) -> None:
    text = str(Address(4, value))
    assert text == str(netaddr.IPAddress(value, 4))
    assert Address.parse(text) == Address(4, value)


@given(V6)
def test_ipv6_text_is_the_shortest_and_is_read_back(value: int) -> None:
    text = str(Address(6, value))
    assert Address.parse(text) == Address(6, value)
    assert "." not in text
    if value >= 2**32:  # below, netaddr writes the last 32 bits as IPv4
        assert text == netaddr.IPAddress(value, 6).format(netaddr.ipv6_compact)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("FD00:0:0:1::", "fd00:0:0:1::"),
        ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
        ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),
        ("::", "::"),
        ("::1", "::1"),
        ("::1.2.3.4", "::102:304"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::ffff:102:304", "1.2.3.4"),
        ("64:ff9b::1.2.3.4", "64:ff9b::102:304"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_texts_are_gos(written: str, text: str) -> None:
    assert str(Address.parse(written)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "10.0.0",
        "10.0.0.256",
        "010.0.0.1",
        " 10.0.0.1",
        "10.0.0.1\n",
        "10.0.0.1\0",
        "fe80::1%eth0",
        "1::2::3",
        ":",
        "\ud800::1",
        "١.0.0.1",
    ],
)
def test_an_invalid_address_is_none(text: str) -> None:
    assert Address.parse(text) is None


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "10.0.0.1/", "10.0.0.1/33", "10.0.0.1/-1", "::/129", "::1/²", "/8", "a/8"]
)
def test_an_invalid_network_is_none(text: str) -> None:
    assert Network.parse(text) is None


@given(V4, st.integers(0, 32))
def test_a_networks_ends_are_netaddrs(value: int, prefix: int) -> None:
    network = Network(Address(4, value), prefix)
    reference = netaddr.IPNetwork(str(network))
    assert (network.first.value, network.last.value) == (reference.first, reference.last)
    assert Network.parse(str(network)) == network


@given(V6, st.integers(0, 128), V6)
def test_a_network_contains_what_netaddr_says(value: int, prefix: int, other: int) -> None:
    network = Network(Address(6, value), prefix)
    reference = netaddr.IPNetwork((value, prefix), version=6)
    assert (Address(6, other) in network) == (netaddr.IPAddress(other, 6) in reference)
    assert Address(6, value) in network
    assert Address(4, 1) not in network


def test_an_ipv4_mapped_network_is_ipv4() -> None:
    assert str(Network.parse("::ffff:10.0.0.5/120")) == "10.0.0.5/24"
    assert Network.parse("::ffff:10.0.0.5/95") is None


def test_every_ipv4_address_is_below_every_ipv6_address() -> None:
    assert Address(4, 2**32 - 1) <= Address(6, 0)
    assert not Address(6, 0) <= Address(4, 2**32 - 1)
