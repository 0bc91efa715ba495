from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator

import pytest

from multus.api.errors import InvalidConfig
from multus.netlink import Channel, Namespace, Refused, create, links
from multus.testing.netns import Netns

MAC = "02:00:5e:10:20:30"


@pytest.fixture
def pod() -> Iterator[Namespace]:
    netns = Netns.create("nl")
    try:
        with Namespace(netns.path) as opened:
            yield opened
    finally:
        netns.remove()


def found(channel: Channel, name: str) -> links.Link:
    link = links.find(channel, name)
    assert link is not None
    return link


def test_a_veth_has_its_peer_in_the_namespace_at_once(channel: Channel, pod: Namespace) -> None:
    replies = channel.request(
        [
            create.veth(
                "veth1", "eth0", peer_namespace=pod, mtu=1400, mac=MAC, peer_mac="02:00:00:00:00:02"
            ),
            links.set_up("veth1"),
            links.get("veth1"),
        ]
    )
    near = links.read(replies[2])
    with pod.channel() as inside:
        far = found(inside, "eth0")
        assert (far.mac, far.mtu, far.kind, far.up) == ("02:00:00:00:00:02", 1400, "veth", False)
        assert (far.index, far.peer) == (near.peer, near.index)
        assert near.peer_namespace is not None
        assert not near.carrier
        inside.request([links.set_up("eth0")])
    near = found(channel, "veth1")
    assert (near.mac, near.mtu, near.up, near.kind) == (MAC, 1400, True, "veth")
    assert near.carrier
    assert near.state == "up"


def test_a_veth_may_have_both_ends_here(channel: Channel) -> None:
    channel.request([create.veth("a0", "a1")])
    assert found(channel, "a0").peer == found(channel, "a1").index
    assert found(channel, "a0").peer_namespace is None


def test_a_macvlan_sits_on_its_parent(channel: Channel, netns: Netns) -> None:
    channel.request([create.veth("card", "wire")])
    parent = found(channel, "card").index
    channel.request([create.macvlan("mv0", parent, mode="private", mtu=1200, mac=MAC)])
    link = found(channel, "mv0")
    assert (link.kind, link.peer, link.mtu, link.mac) == ("macvlan", parent, 1200, MAC)
    assert netns.ip("link", "show", "mv0")[0]["linkinfo"]["info_data"]["mode"] == "private"


def test_properties_are_set_and_read(channel: Channel) -> None:
    channel.request([create.bridge("br0"), *[create.veth("a0", "a1")]])
    bridge = found(channel, "br0")
    channel.request(
        [
            links.set_mtu("a0", 1300),
            links.set_mac("a0", MAC),
            links.set_group("a0", 42),
            links.set_master("a0", bridge.index),
            links.add_alternative_name("a0", "the-first-one-of-the-pair"),
            links.set_up("a0"),
        ]
    )
    link = found(channel, "a0")
    assert (link.mtu, link.mac, link.group, link.master) == (1300, MAC, 42, bridge.index)
    assert link.up
    assert link.alternative_names == ("the-first-one-of-the-pair",)
    assert found(channel, "the-first-one-of-the-pair").index == link.index
    channel.request([links.set_master("a0", 0), links.set_down("a0")])
    link = found(channel, "a0")
    assert (link.master, link.up) == (0, False)


def test_an_alias_moves_with_a_link_and_is_removed(channel: Channel, pod: Namespace) -> None:
    channel.request([create.veth("a0", "a1"), links.set_alias("a0", "a uplink, 255 bytes long")])
    channel.request([links.move(found(channel, "a0").index, pod, "net1")])
    with pod.channel() as inside:
        assert found(inside, "net1").alias == "a uplink, 255 bytes long"
        inside.request([links.set_alias("net1", "")])
        assert found(inside, "net1").alias == ""


def test_a_link_is_renamed_and_moved(channel: Channel, pod: Namespace) -> None:
    channel.request([create.veth("a0", "a1")])
    index = found(channel, "a0").index
    channel.request([links.rename(index, "b0")])
    assert found(channel, "b0").index == index
    channel.request([links.move(index, pod, "net1")])
    assert links.find(channel, "b0") is None
    with pod.channel() as inside:
        assert found(inside, "net1").kind == "veth"


def test_deleting_a_veth_takes_its_other_end(channel: Channel, pod: Namespace) -> None:
    channel.request([create.veth("veth1", "eth0", peer_namespace=pod)])
    with pod.channel() as inside:
        inside.request([links.delete("eth0")])
    assert links.find(channel, "veth1") is None


def test_deleting_what_is_missing_is_an_error_unless_it_is_said(channel: Channel) -> None:
    with pytest.raises(Refused) as caught:
        channel.request([links.delete("nosuch0")])
    assert caught.value.errno == errno.ENODEV
    channel.request([links.delete("nosuch0", missing_ok=True)])


def test_nothing_is_found_where_nothing_is(channel: Channel) -> None:
    assert links.find(channel, "nosuch0") is None
    assert links.find(channel, 99_999) is None


def test_a_lookup_that_fails_otherwise_is_an_error(channel: Channel) -> None:
    with pytest.raises(Refused) as caught:
        links.find(channel, "much-too-long-for-a-name" * 10)
    assert caught.value.errno == errno.ERANGE


def seconds_to_delete(channel: Channel, batches: list[list[str]]) -> float:
    started = time.monotonic()
    for names in batches:
        channel.request(links.delete_many(names))
    return time.monotonic() - started


def test_many_links_are_deleted_in_the_time_of_one(channel: Channel, pod: Namespace) -> None:
    if os.cpu_count() == 1:
        pytest.skip("this kernel lacks grace periods: it has one processor")
    together: list[float] = []
    apart: list[float] = []
    names = [f"net{at}" for at in range(16)]
    with pod.channel() as inside:
        for _ in range(3):
            for batches, took in (([names], together), ([[name] for name in names], apart)):
                for name in names:
                    channel.request([create.veth(f"h{name}", name, peer_namespace=pod)])
                took.append(seconds_to_delete(inside, batches))
                assert [link.name for link in links.list_all(inside)] == ["lo"]
                assert [link.name for link in links.list_all(channel)] == ["lo"]
    # Sixteen grace periods against one. A pause of the machine may hit some of the short runs, but
    # not all of them.
    assert min(together) < min(apart) / 4


def test_deleting_many_leaves_the_others_alone(channel: Channel) -> None:
    channel.request([create.bridge(f"br{at}") for at in range(6)])
    channel.request([links.set_group("br0", 0x6D000001)])
    channel.request(links.delete_many(["br3", "nosuch0", "br4", "br5"]))
    assert {link.name for link in links.list_all(channel)} == {"lo", "br0", "br1", "br2"}


def test_deleting_many_missing_links_succeeds(channel: Channel) -> None:
    channel.request(links.delete_many(["nosuch0", "nosuch1"]))
    channel.request(links.delete_many(["nosuch0"]))
    assert links.delete_many([]) == []


@pytest.mark.parametrize("wrong", ["", "02:00", "02:00:5e:10:20:3g", "0200.5e10", "2:0:0:0:0:1"])
def test_an_invalid_hardware_address_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidConfig):
        links.encode_mac(wrong)


def test_a_hardware_address_may_have_dashes_and_capitals() -> None:
    assert links.decode_mac(links.encode_mac("02-AB-5E-10-20-30")) == "02:ab:5e:10:20:30"
    assert links.decode_mac(b"") == ""
