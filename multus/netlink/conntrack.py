"""Connections that the kernel tracks: forget those that would outlive a change of the rules.

The kernel translates packets of a tracked connection as it did the first one, whatever the rules
are by now.  A UDP "connection" lasts as long as packets come.

Source: linux/netfilter/nfnetlink_conntrack.h; net/netfilter/nf_conntrack_netlink.c.
"""

from __future__ import annotations

import errno
from collections.abc import Collection

from multus.netlink import wire
from multus.netlink._channel import Channel, Refused
from multus.netlink._socket import socket
from multus.netlink.wire import Message

_SUBSYSTEM = 1
_GET, _DELETE = (_SUBSYSTEM << 8 | number for number in (1, 2))

_TUPLE_ORIGINAL, _ID, _ZONE, _FILTER = 1, 12, 18, 25
_TUPLE_PROTOCOL = 2
_PROTOCOL_NUMBER, _PROTOCOL_PORT = 1, 3
_FILTER_ORIGINAL, _FILTER_REPLY = 1, 2
_BY_PROTOCOL, _BY_PORT = 1 << 3, 1 << 5

_UDP = 17
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
#: What a kernel answers that cannot choose by a part of a connection, or tracks none.
_UNABLE = (errno.EINVAL, errno.EOPNOTSUPP)


def forget_udp(channel: Channel, ports: Collection[int]) -> None:
    """Forget the UDP connections of both families whose first packet went to one of these ports.

    *channel* is of `multus.netlink.nftables.channel`.  A kernel that tracks none is no error.
    """
    chosen = [_choosing(family, port) for family in _FAMILIES for port in sorted(set(ports))]
    try:
        channel.request(chosen)
    except Refused as error:
        if error.errno not in _UNABLE:
            raise
        _forget_one_by_one(channel, frozenset(ports))


def _choosing(family: int, port: int) -> Message:
    """Delete by protocol and port; kernels before 6.4 refuse a deletion that names no address."""
    transport = wire.flagged(
        _TUPLE_PROTOCOL,
        wire.u8(_PROTOCOL_NUMBER, _UDP),
        wire.be16(_PROTOCOL_PORT, port, "the port"),
    )
    chosen = wire.flagged(
        _FILTER,
        wire.u32(_FILTER_ORIGINAL, _BY_PROTOCOL | _BY_PORT),
        wire.u32(_FILTER_REPLY, 0),
    )
    # Version 1 of the header makes the kernel look at the family.
    body = _head(family, version=1) + wire.flagged(_TUPLE_ORIGINAL, transport) + chosen
    return Message(_DELETE, 0, body, f"forget UDP connections to port {port}")


def _forget_one_by_one(channel: Channel, ports: frozenset[int]) -> None:
    messages = []
    for family in _FAMILIES:
        try:
            listed = channel.dump(Message(_GET, 0, _head(family), "list tracked connections"))
        except Refused as error:
            if error.errno in _UNABLE:
                continue
            raise
        messages += [_deletion(family, entry) for entry in listed if _port_of(entry) in ports]
    channel.request(messages)


def _port_of(entry: bytes) -> int:
    """The port that the first packet of a UDP connection went to; -1 for other protocols."""
    original = wire.first(entry, 4, _TUPLE_ORIGINAL) or b""
    transport = dict(wire.attributes(wire.first(original, 0, _TUPLE_PROTOCOL) or b"", 0))
    if transport.get(_PROTOCOL_NUMBER) != bytes([_UDP]):
        return -1
    return int.from_bytes(transport.get(_PROTOCOL_PORT, b""), "big")


def _deletion(family: int, entry: bytes) -> Message:
    found = dict(wire.attributes(entry, 4))
    body = _head(family)
    for kind in (_TUPLE_ORIGINAL, _ZONE, _ID):
        if kind in found:
            flag = wire.NLA_F_NESTED if kind == _TUPLE_ORIGINAL else 0
            body += wire.attribute(kind | flag, found[kind])
    # It may have ended meanwhile.
    return Message(_DELETE, 0, body, "forget a UDP connection", (errno.ENOENT,))


def _head(family: int, version: int = 0) -> bytes:
    return bytes([family, version, 0, 0])
