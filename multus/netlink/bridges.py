"""A bridge's ports: their options, and which VLANs pass through each.

A port is named by its index; `multus.netlink.links.set_master` makes an interface a port.  VLANs
are numbers from 1 to 4094, and only a bridge that was created with ``vlan_filtering`` looks at them
(`multus.netlink.create.bridge`)::

    channel.request([
        create.bridge("br0", vlan_filtering=True, default_pvid=0, up=True),
        create.veth("veth1", "eth0", peer_namespace=pod, up=True),
        links.get("br0"), links.get("veth1"),
    ])
    ...
    channel.request([
        links.set_master(port, bridge),
        bridges.set_port(port, isolated=True, hairpin=False),
        bridges.add_vlans(port, [Vlans(100, pvid=True, untagged=True), Vlans(200, 299)]),
    ])

Source: linux/if_bridge.h, linux/if_link.h (``IFLA_BRPORT_*``); bridge(8), net/bridge/br_netlink.c.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from attrs import frozen

from multus.api.errors import InvalidConfig
from multus.netlink import wire
from multus.netlink._channel import Channel
from multus.netlink.wire import Message

_RTM_DELLINK, _RTM_GETLINK, _RTM_SETLINK = 17, 18, 19
_AF_BRIDGE = 7
_IFLA_MASTER, _IFLA_PROTINFO, _IFLA_AF_SPEC, _IFLA_EXT_MASK = 10, 12, 26, 29
_BRPORT_HAIRPIN, _BRPORT_ISOLATED = 4, 33
_BRIDGE_FLAGS, _BRIDGE_VLAN_INFO = 0, 2
_FLAG_SELF = 2
_PVID, _UNTAGGED, _RANGE_BEGIN, _RANGE_END = 0x02, 0x04, 0x08, 0x10
_FILTER_VLANS_AS_RANGES = 4

_IFINFOMSG = struct.Struct("=BxHiII")
_VLAN_INFO = struct.Struct("=HH")

_FIRST, _LAST = 1, 4094


@frozen
class Vlans:
    """The VLANs from ``first`` to ``last`` (0: ``first`` alone) of a port.

    ``pvid``: incoming frames without a tag belong to this VLAN; at most one VLAN of a port.
    ``untagged``: outgoing frames have no tag.
    """

    first: int
    last: int = 0
    pvid: bool = False
    untagged: bool = False


@frozen
class Port:
    """A port as the kernel lists it: its index, its bridge's, its options and VLANs.

    Neighbouring VLANs with the same flags are listed together.
    """

    index: int
    bridge: int
    hairpin: bool
    isolated: bool
    vlans: tuple[Vlans, ...]


def set_port(index: int, *, isolated: bool | None = None, hairpin: bool | None = None) -> Message:
    """Set options of a port; None does not change an option.

    ``isolated``: the port reaches no other isolated port of its bridge.  ``hairpin``: a frame may
    leave through the port that it came in through.
    """
    options = []
    if hairpin is not None:
        options.append(wire.u8(_BRPORT_HAIRPIN, hairpin))
    if isolated is not None:
        options.append(wire.u8(_BRPORT_ISOLATED, isolated))
    info = wire.nested(_IFLA_PROTINFO | wire.NLA_F_NESTED, *options)
    body = _IFINFOMSG.pack(_AF_BRIDGE, 0, index, 0, 0) + info
    return Message(_RTM_SETLINK, 0, body, f"set the options of bridge port {index}")


def add_vlans(index: int, vlans: Sequence[Vlans], *, on_bridge: bool = False) -> Message:
    """Let VLANs pass through a port; with *on_bridge* the index is the bridge's own.

    Raises `InvalidConfig` for an invalid range, or a ``pvid`` that is more than one VLAN.
    """
    words = f"add {_listed(vlans)} to bridge port {index}"
    return Message(_RTM_SETLINK, 0, _vlans_body(index, vlans, on_bridge), words)


def delete_vlans(index: int, vlans: Sequence[Vlans], *, on_bridge: bool = False) -> Message:
    """Remove VLANs from a port; with *on_bridge* the index is the bridge's own."""
    words = f"delete {_listed(vlans)} from bridge port {index}"
    return Message(_RTM_DELLINK, 0, _vlans_body(index, vlans, on_bridge), words)


def list_ports(channel: Channel) -> list[Port]:
    """The ports of all bridges in the channel's namespace, by index, without the bridges."""
    body = _IFINFOMSG.pack(_AF_BRIDGE, 0, 0, 0, 0)
    body += wire.u32(_IFLA_EXT_MASK, _FILTER_VLANS_AS_RANGES)
    entries = channel.dump(Message(_RTM_GETLINK, 0, body, "list bridge ports"))
    ports = map(read, entries)
    return [each for each in ports if each.index != each.bridge]


def read(body: bytes) -> Port:
    """The port in one entry of a dump or in a notification of family ``AF_BRIDGE``."""
    index = _IFINFOMSG.unpack_from(body)[2]
    found = dict(wire.attributes(body, _IFINFOMSG.size))
    options = dict(wire.attributes(found.get(_IFLA_PROTINFO, b""), 0))
    master = found.get(_IFLA_MASTER)
    return Port(
        index=index,
        bridge=index if master is None else wire.read_u32(master),
        hairpin=options.get(_BRPORT_HAIRPIN, b"\0") != b"\0",
        isolated=options.get(_BRPORT_ISOLATED, b"\0") != b"\0",
        vlans=tuple(_read_vlans(found.get(_IFLA_AF_SPEC, b""))),
    )


def _read_vlans(payload: bytes) -> list[Vlans]:
    vlans: list[Vlans] = []
    begin = 0
    for kind, value in wire.attributes(payload, 0):
        if kind != _BRIDGE_VLAN_INFO:
            continue
        flags, number = _VLAN_INFO.unpack_from(value)
        if flags & _RANGE_BEGIN:
            begin = number
            continue
        first, last = (begin, number) if flags & _RANGE_END else (number, 0)
        vlans.append(Vlans(first, last, bool(flags & _PVID), bool(flags & _UNTAGGED)))
    return vlans


def _vlans_body(index: int, vlans: Sequence[Vlans], on_bridge: bool) -> bytes:
    attributes = [wire.u16(_BRIDGE_FLAGS, _FLAG_SELF)] if on_bridge else []
    for each in vlans:
        attributes += _vlan_info(each)
    spec = wire.nested(_IFLA_AF_SPEC, *attributes)
    return _IFINFOMSG.pack(_AF_BRIDGE, 0, index, 0, 0) + spec


def _vlan_info(vlans: Vlans) -> list[bytes]:
    first, last = vlans.first, vlans.last or vlans.first
    if not _FIRST <= first <= last <= _LAST:
        raise InvalidConfig(
            f"VLANs {first} to {last} are not a range of VLANs",
            fix=f"use numbers from {_FIRST} to {_LAST}, the smaller first",
        )
    if vlans.pvid and first != last:
        raise InvalidConfig(
            f"VLANs {first} to {last} cannot all be the VLAN of untagged frames",
            fix="use one",
        )
    flags = (_PVID if vlans.pvid else 0) | (_UNTAGGED if vlans.untagged else 0)
    if first == last:
        return [_info(flags, first)]
    return [_info(flags | _RANGE_BEGIN, first), _info(flags | _RANGE_END, last)]


def _info(flags: int, number: int) -> bytes:
    return wire.attribute(_BRIDGE_VLAN_INFO, _VLAN_INFO.pack(flags, number))


def _listed(vlans: Sequence[Vlans]) -> str:
    ranges = (f"{each.first}-{each.last}" if each.last else f"{each.first}" for each in vlans)
    return f"VLAN {', '.join(ranges)}"
