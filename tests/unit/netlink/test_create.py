"""Links are created in the requested namespace, with the requested attributes."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from multus.api.errors import InvalidConfig
from multus.netlink import Channel, Message, Namespace, Refused, create, links
from multus.testing.netns import Netns

MAC = "02:00:5e:10:20:30"


@pytest.fixture
def pod() -> Iterator[Netns]:
    netns = Netns.create("nlpod")
    yield netns
    netns.remove()


@pytest.fixture
def inside(pod: Netns) -> Iterator[Namespace]:
    with Namespace(pod.path) as opened:
        yield opened


@pytest.fixture
def parent(channel: Channel) -> int:
    """A parent interface on the host; its other end stands for the wire."""
    replies = channel.request(
        [create.veth("card", "wire", up=True), links.set_up("wire"), links.get("card")]
    )
    return links.read(replies[2]).index


def details(netns: Netns, name: str) -> dict[str, Any]:
    (link,) = netns.ip("link", "show", name)
    return dict(link)


KINDS: dict[str, tuple[Callable[[int, Namespace], Message], dict[str, Any]]] = {
    "macvlan": (
        lambda parent, pod: create.macvlan(
            "eth0", parent, namespace=pod, mode="private", mtu=1400, mac=MAC, txqlen=77, up=True
        ),
        {"mode": "private"},
    ),
    "ipvlan": (
        lambda parent, pod: create.ipvlan(
            "eth0", parent, namespace=pod, mode="l3s", flag="private", mtu=1400, txqlen=77, up=True
        ),
        {"mode": "l3s", "private": True},
    ),
    "vlan": (
        lambda parent, pod: create.vlan(
            "eth0",
            parent,
            42,
            namespace=pod,
            protocol="802.1ad",
            mtu=1400,
            mac=MAC,
            txqlen=77,
            up=True,
        ),
        {"id": 42, "protocol": "802.1ad"},
    ),
    "vxlan": (
        lambda parent, pod: create.vxlan(
            "eth0",
            4711,
            namespace=pod,
            remote="10.9.0.2",
            local="10.9.0.1",
            ttl=9,
            learning=False,
            mtu=1400,
            mac=MAC,
            txqlen=77,
            up=True,
        ),
        {
            "id": 4711,
            "remote": "10.9.0.2",
            "local": "10.9.0.1",
            "port": 4789,
            "ttl": 9,
            "learning": False,
        },
    ),
    "bridge": (
        lambda parent, pod: create.bridge(
            "eth0",
            namespace=pod,
            vlan_filtering=True,
            default_pvid=0,
            mtu=1400,
            mac=MAC,
            txqlen=77,
            up=True,
        ),
        {"vlan_filtering": 1, "vlan_default_pvid": 0},
    ),
    "plain bridge": (
        lambda parent, pod: create.plain(
            "eth0", "bridge", namespace=pod, mtu=1400, mac=MAC, txqlen=77, up=True
        ),
        {"vlan_filtering": 0},
    ),
    "dummy": (
        lambda parent, pod: create.plain(
            "eth0", "dummy", namespace=pod, mtu=1400, mac=MAC, txqlen=77, up=True
        ),
        {},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_is_made_in_its_namespace_at_once(
    make: Callable[[Message], None],
    netns: Netns,
    parent: int,
    pod: Netns,
    inside: Namespace,
    kind: str,
) -> None:
    message, wanted = KINDS[kind]
    before = [*netns.links()]
    begin = time.perf_counter()
    make(message(parent, inside))
    took = time.perf_counter() - begin
    assert [*netns.links()] == before
    link = details(pod, "eth0")
    assert link["linkinfo"]["info_kind"] == kind.split()[-1]
    data = link["linkinfo"].get("info_data", {})
    assert {key: data[key] for key in wanted} == wanted
    assert (link["mtu"], link["txqlen"]) == (1400, 77)
    assert "UP" in link["flags"]
    if kind != "ipvlan":  # it has its parent's MAC
        assert link["address"] == MAC
    with inside.channel() as within:
        found = links.find(within, "eth0")
    assert found is not None
    assert (found.kind, found.txqlen, found.mtu) == (kind.split()[-1], 77, 1400)
    # Moving it would wait for RCU grace periods; a machine that is busy may delay anything.
    assert took < 1


def test_a_pair_may_have_both_ends_elsewhere_and_one_in_a_bridge(
    channel: Channel, netns: Netns, pod: Netns, inside: Namespace
) -> None:
    channel.request([create.bridge("br0"), create.veth("a", "b", peer_namespace=inside)])
    bridge = links.find(channel, "br0")
    assert bridge is not None
    channel.request(
        [
            create.veth("v1", "eth0", peer_namespace=inside, master=bridge.index, txqlen=5),
            create.veth("v2", "v3", namespace=inside),
        ]
    )
    assert details(netns, "v1")["master"] == "br0"
    assert details(netns, "v1")["txqlen"] == details(pod, "eth0")["txqlen"] == 5
    assert details(pod, "v2")["linkinfo"]["info_kind"] == "veth"
    assert "v3" in netns.links()


def test_the_queue_length_is_set_later_too(channel: Channel, netns: Netns) -> None:
    channel.request([create.bridge("br0"), links.set_txqlen("br0", 9)])
    assert details(netns, "br0")["txqlen"] == 9


def test_a_name_that_is_taken_there_is_refused(
    channel: Channel, parent: int, inside: Namespace
) -> None:
    message = create.macvlan("eth0", parent, namespace=inside)
    with pytest.raises(Refused, match="create macvlan eth0 on interface") as caught:
        channel.request([message, message])
    assert (caught.value.errno, caught.value.position) == (errno.EEXIST, 1)
    assert inside.path in str(caught.value)


@pytest.mark.parametrize(
    "made",
    [
        lambda: create.macvlan("m", 2, mode="sideways"),
        lambda: create.ipvlan("i", 2, mode="l4"),
        lambda: create.ipvlan("i", 2, flag="secret"),
        lambda: create.vlan("v", 2, 1 << 16),
        lambda: create.vlan("v", 2, 5, protocol="802.1x"),
        lambda: create.vxlan("x", 1 << 32),
        lambda: create.vxlan("x", 1, port=1 << 16),
        lambda: create.vxlan("x", 1, remote="there"),
        lambda: create.vxlan("x", 1, ttl=256),
        lambda: create.bridge("b", default_pvid=-1),
        lambda: create.plain("d", "dummy", mac="02:00"),
        lambda: create.plain("d", "dummy", txqlen=-1),
        lambda: create.plain("a\0b", "dummy"),
    ],
)
def test_values_that_do_not_fit_are_refused_before_sending(
    made: Callable[[], Message],
) -> None:
    with pytest.raises(InvalidConfig):
        made()


def info_data(message: Message) -> dict[str, Any]:
    """What pyroute2 reads of a message's own attributes of its kind."""
    decoded = ifinfmsg(message.encode(1))
    decoded.decode()
    info = decoded.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    return dict(info["attrs"])


def test_ipv6_ends_of_a_tunnel_are_attributes_of_their_own() -> None:
    found = info_data(create.vxlan("x", 7, remote="fd00::2", local="fd00::1", parent=3))
    assert (found["IFLA_VXLAN_GROUP6"], found["IFLA_VXLAN_LOCAL6"]) == ("fd00::2", "fd00::1")
    assert found["IFLA_VXLAN_LINK"] == 3


def test_a_vrf_has_its_table_and_its_interfaces_use_it(
    channel: Channel, make: Callable[[Message], None]
) -> None:
    make(create.vrf("red", 77, up=True))
    channel.request([create.veth("a0", "a1")])
    red, near = links.find(channel, "red"), links.find(channel, "a0")
    assert red is not None
    assert near is not None
    assert (red.kind, create.vrf_table(red), red.up) == ("vrf", 77, True)
    assert create.vrf_table(near) == 0
    channel.request([links.set_master("a0", red.index)])
    port = links.find(channel, "a0")
    assert port is not None
    assert port.master == red.index
