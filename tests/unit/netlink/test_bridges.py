"""Ports of a bridge: options, VLANs, and their effect on frames."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from attrs import frozen
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from waiting import eventually

from multus.api.errors import InvalidConfig
from multus.netlink import Channel, Message, Namespace, addresses, bridges, create, links
from multus.netlink.bridges import Vlans
from multus.testing.netns import Netns


@frozen
class Switch:
    """A bridge with two ports; each has a container at its end, 10.4.0.1 and 10.4.0.2."""

    channel: Channel
    bridge: int
    ports: tuple[int, int]
    pods: tuple[Netns, Netns]

    def reaches(self) -> bool:
        """Whether a datagram of the first container gets to the second."""
        with Namespace(self.pods[0].path) as here, Namespace(self.pods[1].path) as there:
            with (
                here.socket(socket.AF_INET, socket.SOCK_DGRAM) as calling,
                there.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening,
            ):
                listening.bind(("10.4.0.2", 7))
                listening.settimeout(0.5)
                calling.sendto(b"?", ("10.4.0.2", 7))
                with suppress(TimeoutError):
                    return listening.recv(1) == b"?"
        return False


@pytest.fixture
def switch(channel: Channel) -> Iterator[Switch]:
    channel.request([create.bridge("br0", up=True)])
    with plugged(channel) as switch:
        yield switch


@pytest.fixture
def filtering(channel: Channel, make: Callable[[Message], None]) -> Iterator[Switch]:
    """A bridge with VLAN filtering, whose ports are in no VLAN."""
    make(create.bridge("br0", vlan_filtering=True, default_pvid=0, up=True))
    with plugged(channel) as switch:
        yield switch


@contextmanager
def plugged(channel: Channel) -> Iterator[Switch]:
    pods = Netns.create("sw"), Netns.create("sw")
    try:
        bridge = found(channel, "br0")
        for number, pod in enumerate(pods, 1):
            with Namespace(pod.path) as opened, opened.channel() as inside:
                port = create.veth(
                    f"p{number}", "eth0", peer_namespace=opened, master=bridge, up=True
                )
                channel.request([port])
                index = found(inside, "eth0")
                inside.request([addresses.add(index, f"10.4.0.{number}/24"), links.set_up(index)])
        yield Switch(channel, bridge, (found(channel, "p1"), found(channel, "p2")), pods)
    finally:
        for pod in pods:
            pod.remove()


def found(channel: Channel, name: str) -> int:
    link = links.find(channel, name)
    assert link is not None
    return link.index


def test_frames_pass_where_their_vlan_is_allowed(filtering: Switch) -> None:
    first, second = filtering.ports
    assert not filtering.reaches()
    access = [Vlans(100, pvid=True, untagged=True)]
    filtering.channel.request([bridges.add_vlans(port, access) for port in filtering.ports])
    eventually(filtering.reaches)  # the kernel asks for the neighbour's MAC once a second
    filtering.channel.request(
        [bridges.delete_vlans(second, access), bridges.add_vlans(second, [Vlans(200, pvid=True)])]
    )
    assert not filtering.reaches()
    assert [each.vlans for each in bridges.list_ports(filtering.channel)] == [
        (Vlans(100, pvid=True, untagged=True),),
        (Vlans(200, pvid=True),),
    ]
    assert first < second


def test_isolated_ports_do_not_reach_each_other(switch: Switch) -> None:
    assert switch.reaches()
    switch.channel.request([bridges.set_port(port, isolated=True) for port in switch.ports])
    assert not switch.reaches()
    switch.channel.request([bridges.set_port(switch.ports[0], isolated=False, hairpin=True)])
    assert switch.reaches()
    listed = bridges.list_ports(switch.channel)
    assert [(each.isolated, each.hairpin) for each in listed] == [(False, True), (True, False)]
    assert {each.bridge for each in listed} == {switch.bridge}


def test_ranges_are_what_the_bridge_program_shows(filtering: Switch, netns: Netns) -> None:
    port = filtering.ports[0]
    trunk = [Vlans(5, pvid=True, untagged=True), Vlans(100, 199), Vlans(300), Vlans(4000, 4094)]
    filtering.channel.request([bridges.add_vlans(port, trunk)])
    (listed,) = (each for each in bridges.list_ports(filtering.channel) if each.index == port)
    assert listed.vlans == tuple(trunk)
    shown = json.loads(netns.run("bridge", "-compressvlans", "-json", "vlan", "show", "dev", "p1"))
    # Some releases show an empty list of flags.
    assert [{key: each[key] for key in each if each[key] != []} for each in shown[0]["vlans"]] == [
        {"vlan": 5, "flags": ["PVID", "Egress Untagged"]},
        {"vlan": 100, "vlanEnd": 199},
        {"vlan": 300},
        {"vlan": 4000, "vlanEnd": 4094},
    ]
    filtering.channel.request([bridges.delete_vlans(port, [Vlans(150, 199), Vlans(4000, 4094)])])
    (listed,) = (each for each in bridges.list_ports(filtering.channel) if each.index == port)
    assert listed.vlans == (Vlans(5, pvid=True, untagged=True), Vlans(100, 149), Vlans(300))


def test_the_bridge_itself_may_be_in_a_vlan(filtering: Switch, netns: Netns) -> None:
    filtering.channel.request([bridges.add_vlans(filtering.bridge, [Vlans(7)], on_bridge=True)])
    shown = json.loads(netns.run("bridge", "-json", "vlan", "show", "dev", "br0"))
    assert [each["vlan"] for each in shown[0]["vlans"]] == [7]


@pytest.mark.parametrize(
    "wrong", [Vlans(0), Vlans(4095), Vlans(9, 5), Vlans(-1), Vlans(5, 9, pvid=True)]
)
def test_an_invalid_range_is_refused(wrong: Vlans) -> None:
    with pytest.raises(InvalidConfig, match="VLANs"):
        bridges.add_vlans(3, [wrong])


def test_a_port_is_read_as_pyroute2_writes_one() -> None:
    message = ifinfmsg()
    message["family"], message["index"] = 7, 9
    vlans = [(5, 0x06), (100, 0x08), (199, 0x10), (300, 0)]
    message["attrs"] = [
        ("IFLA_MASTER", 4),
        ("IFLA_PROTINFO", {"attrs": [("IFLA_BRPORT_MODE", 1), ("IFLA_BRPORT_ISOLATED", 0)]}),
        (
            "IFLA_AF_SPEC",
            {
                "attrs": [
                    ("IFLA_BRIDGE_VLAN_INFO", {"vid": vid, "flags": flags}) for vid, flags in vlans
                ]
            },
        ),
    ]
    message.encode()
    assert bridges.read(bytes(message.data)[16:]) == bridges.Port(
        index=9,
        bridge=4,
        hairpin=True,
        isolated=False,
        vlans=(Vlans(5, pvid=True, untagged=True), Vlans(100, 199), Vlans(300)),
    )
