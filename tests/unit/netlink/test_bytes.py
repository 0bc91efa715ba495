"""Every message has the same bytes as pyroute2's for the same request."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from multus.netlink import (
    Message,
    Namespace,
    addresses,
    bridges,
    create,
    links,
    neighbours,
    routes,
)
from multus.netlink.bridges import Vlans

REQUEST_ACK, REPLACE, EXCL, CREATE, APPEND = 0x5, 0x100, 0x200, 0x400, 0x800
MAC = "02:00:5e:10:20:30"


def encoded(kind: type, number: int, flags: int, fields: dict[str, Any], *attrs: Any) -> bytes:
    """pyroute2's bytes of a message with this header, these fields and attributes."""
    message = kind()
    message["header"]["type"] = number
    message["header"]["flags"] = REQUEST_ACK | flags
    message["header"]["sequence_number"] = 77
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(attrs)
    message.encode()
    return bytes(message.data)


def link(number: int, flags: int, fields: dict[str, Any], *attrs: Any) -> bytes:
    return encoded(ifinfmsg, number, flags, fields, *attrs)


def info(kind: str, *data: Any) -> tuple[str, Any]:
    attrs: list[Any] = [("IFLA_INFO_KIND", kind)]
    if data:
        attrs.append(("IFLA_INFO_DATA", {"attrs": list(data)}))
    return ("IFLA_LINKINFO", {"attrs": attrs})


AF_SPEC, PROTINFO = "IFLA_AF_SPEC", "IFLA_PROTINFO"


def bridge_port(number: int, holder: str, *attrs: Any) -> bytes:
    """A message of family AF_BRIDGE about interface 7."""
    return link(number, 0, {"family": 7, "index": 7}, (holder, {"attrs": list(attrs)}))


def address(number: int, flags: int, text: str, index: int, *more: Any) -> bytes:
    host, _, prefix = text.partition("/")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    fields = {"family": family, "prefixlen": int(prefix), "index": index}
    attrs = [("IFA_LOCAL", host), ("IFA_ADDRESS", host), *more]
    return encoded(ifaddrmsg, number, flags, fields, *attrs)


def route(number: int, flags: int, fields: dict[str, Any], *attrs: Any) -> bytes:
    return encoded(rtmsg, number, flags, {"table": 254, **fields}, *attrs)


ADDED = {"family": socket.AF_INET, "proto": 3, "type": 1}
CREATED = CREATE | EXCL

CASES: dict[str, tuple[Message, bytes]] = {
    "set up": (links.set_up(7), link(19, 0, {"index": 7, "flags": 1, "change": 1})),
    "set up by name": (
        links.set_up("eth0"),
        link(19, 0, {"flags": 1, "change": 1}, ("IFLA_IFNAME", "eth0")),
    ),
    "set down": (links.set_down(7), link(19, 0, {"index": 7, "change": 1})),
    "mtu": (links.set_mtu(7, 1400), link(19, 0, {"index": 7}, ("IFLA_MTU", 1400))),
    "mac": (links.set_mac(7, MAC), link(19, 0, {"index": 7}, ("IFLA_ADDRESS", MAC))),
    "group": (links.set_group(7, 99), link(19, 0, {"index": 7}, ("IFLA_GROUP", 99))),
    "master": (links.set_master(7, 3), link(19, 0, {"index": 7}, ("IFLA_MASTER", 3))),
    "rename": (links.rename(7, "net1"), link(19, 0, {"index": 7}, ("IFLA_IFNAME", "net1"))),
    "delete": (links.delete(7), link(17, 0, {"index": 7})),
    "delete by name": (links.delete("eth0"), link(17, 0, {}, ("IFLA_IFNAME", "eth0"))),
    "get": (links.get("eth0"), link(18, 0, {}, ("IFLA_IFNAME", "eth0"), ("IFLA_EXT_MASK", 8))),
    "alternative name": (
        links.add_alternative_name(7, "a-longer-name-than-fifteen"),
        link(
            108,
            CREATED | APPEND,
            {"index": 7},
            ("IFLA_PROP_LIST", {"attrs": [("IFLA_ALT_IFNAME", "a-longer-name-than-fifteen")]}),
        ),
    ),
    "bridge": (
        create.bridge("br0", mtu=1400, mac=MAC),
        link(
            16,
            CREATED,
            {},
            ("IFLA_IFNAME", "br0"),
            ("IFLA_MTU", 1400),
            ("IFLA_ADDRESS", MAC),
            info("bridge"),
        ),
    ),
    "macvlan": (
        create.macvlan("mv0", 5, mode="private"),
        link(
            16,
            CREATED,
            {},
            ("IFLA_IFNAME", "mv0"),
            ("IFLA_LINK", 5),
            info("macvlan", ("IFLA_MACVLAN_MODE", "private")),
        ),
    ),
    "bridge with VLANs": (
        create.bridge("br0", vlan_filtering=True, default_pvid=5),
        link(
            16,
            CREATED,
            {},
            ("IFLA_IFNAME", "br0"),
            info("bridge", ("IFLA_BR_VLAN_FILTERING", 1), ("IFLA_BR_VLAN_DEFAULT_PVID", 5)),
        ),
    ),
    "ipvlan": (
        create.ipvlan("iv0", 5, mode="l3s", txqlen=7, up=True),
        link(
            16,
            CREATED,
            {"flags": 1, "change": 1},
            ("IFLA_IFNAME", "iv0"),
            ("IFLA_LINK", 5),
            ("IFLA_TXQLEN", 7),
            info("ipvlan", ("IFLA_IPVLAN_MODE", 2)),
        ),
    ),
    "VLAN": (
        create.vlan("v0", 5, 42, protocol="802.1ad"),
        link(
            16,
            CREATED,
            {},
            ("IFLA_IFNAME", "v0"),
            ("IFLA_LINK", 5),
            info("vlan", ("IFLA_VLAN_ID", 42), ("IFLA_VLAN_PROTOCOL", 0x88A8)),
        ),
    ),
    "VXLAN": (
        create.vxlan("x0", 99, remote="10.9.0.2", local="10.9.0.1", parent=5, ttl=3),
        link(
            16,
            CREATED,
            {},
            ("IFLA_IFNAME", "x0"),
            info(
                "vxlan",
                ("IFLA_VXLAN_ID", 99),
                ("IFLA_VXLAN_GROUP", "10.9.0.2"),
                ("IFLA_VXLAN_LINK", 5),
                ("IFLA_VXLAN_LOCAL", "10.9.0.1"),
                ("IFLA_VXLAN_TTL", 3),
                ("IFLA_VXLAN_LEARNING", 1),
                ("IFLA_VXLAN_PORT", 4789),
            ),
        ),
    ),
    "VLANs of a port": (
        bridges.add_vlans(7, [Vlans(5, pvid=True, untagged=True), Vlans(100, 199)]),
        bridge_port(
            19,
            AF_SPEC,
            ("IFLA_BRIDGE_VLAN_INFO", {"vid": 5, "flags": 6}),
            ("IFLA_BRIDGE_VLAN_INFO", {"vid": 100, "flags": 8}),
            ("IFLA_BRIDGE_VLAN_INFO", {"vid": 199, "flags": 16}),
        ),
    ),
    "VLANs of a bridge": (
        bridges.add_vlans(7, [Vlans(5)], on_bridge=True),
        bridge_port(
            19,
            AF_SPEC,
            ("IFLA_BRIDGE_FLAGS", 2),
            ("IFLA_BRIDGE_VLAN_INFO", {"vid": 5, "flags": 0}),
        ),
    ),
    "VLANs of a port no more": (
        bridges.delete_vlans(7, [Vlans(5)]),
        bridge_port(17, AF_SPEC, ("IFLA_BRIDGE_VLAN_INFO", {"vid": 5, "flags": 0})),
    ),
    "options of a port": (
        bridges.set_port(7, isolated=True, hairpin=False),
        # pyroute2 leaves NLA_F_NESTED out, without which the kernel reads another, older form.
        bridge_port(19, PROTINFO, ("IFLA_BRPORT_MODE", 0), ("IFLA_BRPORT_ISOLATED", 1)).replace(
            b"\x14\0\x0c\0", b"\x14\0\x0c\x80"
        ),
    ),
    "IPv4 address": (
        addresses.add(7, "10.1.2.3/24"),
        address(20, CREATED, "10.1.2.3/24", 7, ("IFA_BROADCAST", "10.1.2.255")),
    ),
    "IPv4 address of a host has no broadcast": (
        addresses.add(7, "10.1.2.3/32"),
        address(20, CREATED, "10.1.2.3/32", 7),
    ),
    "IPv4 address of a pair has no broadcast": (
        addresses.add(7, "10.1.2.3/31"),
        address(20, CREATED, "10.1.2.3/31", 7),
    ),
    "IPv4 address without broadcast": (
        addresses.add(7, "10.1.2.3/24", broadcast=False),
        address(20, CREATED, "10.1.2.3/24", 7),
    ),
    "IPv6 address": (
        addresses.add(7, "fd00::3/64"),
        address(20, CREATED, "fd00::3/64", 7),
    ),
    "IPv6 address without detection of duplicates": (
        addresses.add(7, "fd00::3/64", detect_duplicates=False),
        address(20, CREATED, "fd00::3/64", 7, ("IFA_FLAGS", 2)),
    ),
    "second step of a settled IPv6 address": (
        addresses.add_settled(7, "fd00::3/64")[1],
        address(20, REPLACE, "fd00::3/64", 7),
    ),
    "delete address": (
        addresses.delete(7, "10.1.2.3/24"),
        address(21, 0, "10.1.2.3/24", 7),
    ),
    "default route": (
        routes.add(7, "0.0.0.0/0", gateway="10.1.2.1"),
        route(24, CREATED, ADDED, ("RTA_OIF", 7), ("RTA_GATEWAY", "10.1.2.1")),
    ),
    "route on the link with a source": (
        routes.add(7, "10.1.2.1/32", source="10.1.2.3", scope=routes.SCOPE_LINK),
        route(
            24,
            CREATED,
            {**ADDED, "dst_len": 32, "scope": 253},
            ("RTA_DST", "10.1.2.1"),
            ("RTA_OIF", 7),
            ("RTA_PREFSRC", "10.1.2.3"),
        ),
    ),
    "route with everything": (
        routes.add(
            7,
            "fd01::/48",
            gateway="fd00::1",
            table=1000,
            priority=50,
            mtu=1300,
            advmss=1200,
            onlink=True,
            exclusive=False,
        ),
        route(
            24,
            CREATE,
            {**ADDED, "family": socket.AF_INET6, "dst_len": 48, "table": 252, "flags": 4},
            ("RTA_DST", "fd01::"),
            ("RTA_OIF", 7),
            ("RTA_GATEWAY", "fd00::1"),
            ("RTA_TABLE", 1000),
            ("RTA_PRIORITY", 50),
            ("RTA_METRICS", {"attrs": [("RTAX_MTU", 1300), ("RTAX_ADVMSS", 1200)]}),
        ),
    ),
    "delete route": (
        routes.delete(7, "10.1.2.0/24"),
        route(
            25,
            0,
            {"family": socket.AF_INET, "dst_len": 24, "scope": 255},
            ("RTA_DST", "10.1.2.0"),
            ("RTA_OIF", 7),
        ),
    ),
    "neighbour": (
        neighbours.add(7, "10.1.2.1", MAC),
        encoded(
            ndmsg,
            28,
            CREATE | REPLACE,
            {"family": socket.AF_INET, "ifindex": 7, "state": 0x80},
            ("NDA_DST", "10.1.2.1"),
            ("NDA_LLADDR", MAC),
        ),
    ),
    "proxy neighbour": (
        neighbours.add_proxy(7, "fd00::1"),
        encoded(
            ndmsg,
            28,
            CREATE | REPLACE,
            {"family": socket.AF_INET6, "ifindex": 7, "state": 0x80, "flags": 8},
            ("NDA_DST", "fd00::1"),
        ),
    ),
    "delete neighbour": (
        neighbours.delete(7, "10.1.2.1"),
        encoded(ndmsg, 29, 0, {"family": socket.AF_INET, "ifindex": 7}, ("NDA_DST", "10.1.2.1")),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_message_has_the_bytes_that_pyroute2_makes(name: str) -> None:
    message, expected = CASES[name]
    # A message with a reply requests no acknowledgement: encode it as if it did.
    assert message._replace(replies=False).encode(77).hex() == expected.hex()


#: Those of each end of a veth pair.
QUEUES = [("IFLA_NUM_TX_QUEUES", 1), ("IFLA_NUM_RX_QUEUES", 1)]


def test_a_veth_is_encoded_with_its_peer_in_the_namespace() -> None:
    with Namespace.current() as here:
        message = create.veth(
            "veth1", "eth0", peer_namespace=here, mtu=1400, mac=MAC, peer_mac="02:00:00:00:00:02"
        )
        peer = [
            ("IFLA_IFNAME", "eth0"),
            ("IFLA_MTU", 1400),
            ("IFLA_ADDRESS", "02:00:00:00:00:02"),
            ("IFLA_NET_NS_FD", here.fd),
            *QUEUES,
        ]
        expected = link(
            16,
            CREATED,
            {},
            ("IFLA_IFNAME", "veth1"),
            ("IFLA_MTU", 1400),
            ("IFLA_ADDRESS", MAC),
            *QUEUES,
            info("veth", ("VETH_INFO_PEER", {"attrs": peer})),
        )
    assert message.encode(77).hex() == expected.hex()


def test_a_veth_that_is_made_up_has_the_flag_at_its_near_end() -> None:
    message = create.veth("veth1", "eth0", up=True)
    peer = info("veth", ("VETH_INFO_PEER", {"attrs": [("IFLA_IFNAME", "eth0"), *QUEUES]}))
    up = {"flags": 1, "change": 1}
    expected = link(16, CREATED, up, ("IFLA_IFNAME", "veth1"), *QUEUES, peer)
    assert message.encode(77).hex() == expected.hex()


def test_a_quiet_message_asks_for_no_acknowledgement() -> None:
    message = links.set_up(7)
    loud, quiet = message.encode(77), message.encode(77, quiet=True)
    assert (loud[6] & 4, quiet[6] & 4) == (4, 0)
    assert loud[:6] + loud[7:] == quiet[:6] + quiet[7:]


def test_random_macs_are_local_and_of_one_interface() -> None:
    made = [links.encode_mac(links.local_mac(os.urandom(6))) for _ in range(200)]
    assert {mac[0] & 3 for mac in made} == {2}
    assert len(set(made)) == 200


def test_a_move_is_encoded_with_the_namespace_and_the_new_name() -> None:
    with Namespace.current() as here:
        message = links.move(7, here, "net1")
        expected = link(19, 0, {"index": 7}, ("IFLA_NET_NS_FD", here.fd), ("IFLA_IFNAME", "net1"))
    assert message.encode(77).hex() == expected.hex()


def test_many_links_are_put_into_one_group_and_deleted_by_it() -> None:
    messages = links.delete_many(["eth0", "net1"])
    group = int.from_bytes(messages[-1].body[-4:], "little")
    assert [message.encode(77).hex() for message in messages] == [
        link(19, 0, {}, ("IFLA_IFNAME", "eth0"), ("IFLA_GROUP", group)).hex(),
        link(19, 0, {}, ("IFLA_IFNAME", "net1"), ("IFLA_GROUP", group)).hex(),
        link(17, 0, {}, ("IFLA_GROUP", group)).hex(),
    ]


def test_two_deletions_take_different_groups() -> None:
    groups = {links.delete_many(["a", "b"])[-1].body for _ in range(20)}
    assert len(groups) == 20
