from __future__ import annotations

import socket

import pytest

from multus.api.errors import KernelRefused
from multus.netlink import Channel, Namespace, addresses, announce, create, links, sysctl
from multus.testing.netns import Netns

MAC = "02:00:5e:10:20:30"


@pytest.fixture
def link(netns: Netns, namespace: Namespace, channel: Channel) -> links.Link:
    """One end of a veth, up; the other end is ``a1``."""
    with namespace.entered():
        # Disable IPv6, so that only the test's frames are on the link.
        sysctl.write("ipv6/conf/default/disable_ipv6", "1")
    channel.request([create.veth("a0", "a1", mac=MAC), links.set_up("a0"), links.set_up("a1")])
    found = links.find(channel, "a0")
    assert found is not None
    return found


def heard(namespace: Namespace, address: str) -> bytes:
    """The frame that arrives at the other end when the address is announced."""
    with namespace.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("a1", 3))  # ETH_P_ALL
        sock.settimeout(5)
        announce(namespace, "a0", MAC, address)
        return sock.recv(2000)


def test_an_ipv4_address_is_announced_by_arp(namespace: Namespace, link: links.Link) -> None:
    frame = heard(namespace, "10.1.2.3/24")
    mac, address = links.encode_mac(MAC), socket.inet_aton("10.1.2.3")
    assert frame[:14] == b"\xff" * 6 + mac + b"\x08\x06"
    assert frame[14:22] == bytes.fromhex("0001080006040001")
    assert (frame[22:28], frame[28:32], frame[38:42]) == (mac, address, address)


def test_an_ipv6_address_is_announced_by_an_advertisement(
    namespace: Namespace, link: links.Link
) -> None:
    frame = heard(namespace, "fd00::3/64")
    assert frame[:14] == bytes.fromhex("333300000001") + links.encode_mac(MAC) + b"\x86\xdd"
    assert frame[20:22] == bytes([socket.IPPROTO_ICMPV6, 255])
    assert frame[38:54] == socket.inet_pton(socket.AF_INET6, "ff02::1")
    assert frame[54:56] == bytes([136, 0])
    assert frame[58:62] == bytes.fromhex("20000000")  # override, not solicited
    assert frame[62:78] == socket.inet_pton(socket.AF_INET6, "fd00::3")
    assert frame[78:] == b"\x02\x01" + links.encode_mac(MAC)


@pytest.mark.parametrize(
    ("address", "other"), [("10.1.2.3/24", "10.1.2.4/24"), ("fd00::3/64", "fd00::4/64")]
)
def test_a_neighbour_takes_the_new_address_in(
    netns: Netns, namespace: Namespace, channel: Channel, address: str, other: str
) -> None:
    far = Netns.create("nl")
    try:
        with Namespace(far.path) as there, there.channel() as channel_there:
            channel.request([create.veth("a0", "a1", peer_namespace=there), links.set_up("a0")])
            near = links.find(channel, "a0")
            assert near is not None
            channel_there.request([links.set_up("a1")])
            if ":" in address:
                channel.request(addresses.add_settled(near.index, address))
                channel_there.request(addresses.add_settled(near.peer, other))
            else:
                channel.request([addresses.add(near.index, address)])
                channel_there.request([addresses.add(near.peer, other)])
            host = address.partition("/")[0]
            # The neighbour has a stale hardware address, as after a pod has moved.
            far.ip("neighbour", "replace", host, "lladdr", "02:00:00:00:00:99", "dev", "a1")
            far.ip(
                "neighbour",
                "change",
                host,
                "dev",
                "a1",
                "nud",
                "stale",
                "lladdr",
                "02:00:00:00:00:99",
            )
            with there.entered():
                sysctl.write("ipv4/neigh/a1/locktime", "0")
            announce(namespace, "a0", near.mac, address)
            assert far.ip("neighbour", "show", host, "dev", "a1")[0]["lladdr"] == near.mac
    finally:
        far.remove()


def test_announcing_on_a_link_that_is_missing_is_an_error(namespace: Namespace) -> None:
    with pytest.raises(KernelRefused, match="nosuch0"):
        announce(namespace, "nosuch0", MAC, "10.1.2.3/24")


def test_announcing_on_a_link_that_is_down_is_an_error(
    namespace: Namespace, channel: Channel
) -> None:
    channel.request([create.veth("a0", "a1")])
    with pytest.raises(KernelRefused, match="a0"):
        announce(namespace, "a0", MAC, "fd00::3/64")
