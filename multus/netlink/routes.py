"""Messages about routes.

A destination is text with its prefix length; ``"0.0.0.0/0"`` and ``"::/0"`` are the defaults.

Source: linux/rtnetlink.h, rtnetlink(7); CNI specification 1.1.0, section "ADD Success" (the keys
mtu, advmss, priority, table and scope of a route).
"""

from __future__ import annotations

import errno
import struct

from attrs import field, frozen

from multus.netlink import wire
from multus.netlink._channel import Channel
from multus.netlink._socket import socket
from multus.netlink.addresses import encode
from multus.netlink.wire import Message

_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC = 1, 4, 5, 6, 7
_RTA_METRICS, _RTA_MULTIPATH, _RTA_CACHEINFO, _RTA_TABLE = 8, 9, 12, 15
_RTAX_MTU, _RTAX_ADVMSS = 2, 8

SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST, SCOPE_NOWHERE = 0, 253, 254, 255
TABLE_MAIN = 254

#: The type of a unicast route (others: local, broadcast, blackhole …).
UNICAST = 1

_RTPROT_BOOT = 3
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL)
_RTNH_F_ONLINK = 4
_TABLE_COMPAT = 252

_RTMSG = struct.Struct("=BBBBBBBBI")
_SCOPE = struct.Struct("=B")
_RTNEXTHOP = struct.Struct("=HBBi")


@frozen
class Route:
    """A route as the kernel lists it; "" and 0 mean that a field is not set.

    A route with several next hops is listed once for each of them, and has no ``entry``: the
    kernel's own words, which `copy` needs.
    """

    destination: str
    gateway: str
    index: int
    source: str
    scope: int
    table: int
    priority: int
    protocol: int
    kind: int
    mtu: int
    advmss: int
    entry: bytes = field(default=b"", eq=False, repr=False)


def add(
    index: int,
    destination: str,
    *,
    gateway: str = "",
    source: str = "",
    scope: int = SCOPE_UNIVERSE,
    table: int = TABLE_MAIN,
    priority: int = 0,
    mtu: int = 0,
    advmss: int = 0,
    onlink: bool = False,
    exclusive: bool = True,
    exists_ok: bool = False,
    replace: bool = False,
) -> Message:
    """A unicast route through the interface with this index.

    ``exclusive``: an equal route is an error (EEXIST), unless ``exists_ok``; without ``exclusive``
    the kernel keeps both (IPv6: as one multipath route).  With ``replace`` it takes the place of
    the route to the same destination that has the same priority.  ``onlink``: the kernel does not
    check that the gateway is reachable on the link.
    """
    flags = wire.NLM_F_CREATE | (wire.NLM_F_EXCL if exclusive else 0)
    if replace:
        flags = wire.NLM_F_CREATE | wire.NLM_F_REPLACE
    body = _body(index, destination, gateway, scope, table, _RTNH_F_ONLINK if onlink else 0)
    if source:
        body += wire.attribute(_RTA_PREFSRC, encode(source)[1])
    if priority:
        body += wire.u32(_RTA_PRIORITY, priority, _of(destination, "priority"))
    metrics = [wire.u32(_RTAX_MTU, mtu, _of(destination, "mtu"))] if mtu else []
    if advmss:
        metrics.append(wire.u32(_RTAX_ADVMSS, advmss, _of(destination, "advmss")))
    if metrics:
        body += wire.nested(_RTA_METRICS, *metrics)
    expected = (errno.EEXIST,) if exists_ok else ()
    return Message(_RTM_NEWROUTE, flags, body, _words("add", index, destination, gateway), expected)


def delete(
    index: int,
    destination: str,
    *,
    gateway: str = "",
    table: int = TABLE_MAIN,
    priority: int = 0,
    missing_ok: bool = False,
) -> Message:
    """Delete a route with any scope and protocol; with priority 0, with any priority."""
    expected = (errno.ESRCH, errno.ENODEV) if missing_ok else ()
    body = _body(index, destination, gateway, SCOPE_NOWHERE, table, 0, protocol=0, kind=0)
    if priority:
        body += wire.u32(_RTA_PRIORITY, priority, _of(destination, "priority"))
    return Message(_RTM_DELROUTE, 0, body, _words("delete", index, destination, gateway), expected)


def copy(route: Route, table: int) -> Message:
    """The listed *route* in another table, where it replaces the one to the same destination.

    Everything that the kernel says of it is kept: its source, metrics, encapsulation ….
    """
    family, prefix, source, tos, _, protocol, scope, kind, flags = _RTMSG.unpack_from(route.entry)
    head = (family, prefix, source, tos, table if table < 256 else _TABLE_COMPAT, protocol, scope)
    kept = [
        wire.attribute(each, payload)
        for each, payload in wire.attributes(route.entry, _RTMSG.size)
        if each not in (_RTA_TABLE, _RTA_CACHEINFO)
    ]
    number = wire.u32(_RTA_TABLE, table, _of(route.destination, "table"))
    return Message(
        _RTM_NEWROUTE,
        wire.NLM_F_CREATE | wire.NLM_F_REPLACE,
        # The other flags are the state of the route, which the kernel does not take.
        _RTMSG.pack(*head, kind, flags & _RTNH_F_ONLINK) + b"".join(kept) + number,
        f"{_words('copy', route.index, route.destination, route.gateway)} to table {table}",
    )


def list_all(channel: Channel, family: int = socket.AF_UNSPEC, *, index: int = 0) -> list[Route]:
    """The routes of all tables, of one family or both; with *index*, only of that interface."""
    families = (socket.AF_INET, socket.AF_INET6) if family == socket.AF_UNSPEC else (family,)
    found: list[Route] = []
    for each in families:
        body = _RTMSG.pack(each, 0, 0, 0, 0, 0, 0, 0, 0)
        if index:
            body += wire.u32(_RTA_OIF, index)  # the kernel filters: there may be many routes
        for entry in channel.dump(Message(_RTM_GETROUTE, 0, body, "list routes")):
            found.extend(route for route in read(entry) if index in (0, route.index))
    return found


def find_to(channel: Channel, address: str) -> Route | None:
    """The route that a packet to this address (without prefix) takes; None without one."""
    family, packed, prefix = encode(address)
    body = _RTMSG.pack(family, prefix, 0, 0, 0, 0, 0, 0, 0) + wire.attribute(_RTA_DST, packed)
    words = f"look up the route to {address}"
    asked = Message(_RTM_GETROUTE, 0, body, words, _UNREACHABLE, replies=True)
    reply = channel.request([asked])[0]
    return None if reply is None else next(iter(read(reply)), None)


def read(body: bytes) -> list[Route]:
    """The route in one entry of a dump, once for each of its next hops."""
    family, prefix, _, _, small_table, protocol, scope, kind, _ = _RTMSG.unpack_from(body)
    found = dict(wire.attributes(body, _RTMSG.size))
    metrics = dict(wire.attributes(found.get(_RTA_METRICS, b""), 0))
    zeros = bytes(16 if family == socket.AF_INET6 else 4)
    hops = [(_number(found, _RTA_OIF), found.get(_RTA_GATEWAY))]
    if _RTA_MULTIPATH in found:
        hops = _hops(found[_RTA_MULTIPATH])
    return [
        Route(
            destination=f"{socket.inet_ntop(family, found.get(_RTA_DST, zeros))}/{prefix}",
            gateway="" if gateway is None else socket.inet_ntop(family, gateway),
            index=index,
            source=socket.inet_ntop(family, found[_RTA_PREFSRC]) if _RTA_PREFSRC in found else "",
            scope=scope,
            table=_number(found, _RTA_TABLE) or small_table,
            priority=_number(found, _RTA_PRIORITY),
            protocol=protocol,
            kind=kind,
            mtu=_number(metrics, _RTAX_MTU),
            advmss=_number(metrics, _RTAX_ADVMSS),
            entry=b"" if _RTA_MULTIPATH in found else body,
        )
        for index, gateway in hops
    ]


def _hops(payload: bytes) -> list[tuple[int, bytes | None]]:
    hops: list[tuple[int, bytes | None]] = []
    start = 0
    while start + _RTNEXTHOP.size <= len(payload):
        size, _flags, _weight, index = _RTNEXTHOP.unpack_from(payload, start)
        if size < _RTNEXTHOP.size:
            break
        more = dict(wire.attributes(payload[start : start + size], _RTNEXTHOP.size))
        hops.append((index, more.get(_RTA_GATEWAY)))
        start += (size + 3) & ~3
    return hops


def _body(
    index: int,
    destination: str,
    gateway: str,
    scope: int,
    table: int,
    flags: int,
    protocol: int = _RTPROT_BOOT,
    kind: int = UNICAST,
) -> bytes:
    family, packed, prefix = encode(destination)
    # A table above 255 does not fit the header; the attribute has it.
    small = table if 0 <= table < 256 else _TABLE_COMPAT
    wire.packed(_SCOPE, _of(destination, "scope"), scope)
    body = _RTMSG.pack(family, prefix, 0, 0, small, protocol, scope, kind, flags)
    if prefix:
        body += wire.attribute(_RTA_DST, packed)
    body += wire.u32(_RTA_OIF, index)
    if gateway:
        body += wire.attribute(_RTA_GATEWAY, encode(gateway)[1])
    if small != table:
        body += wire.u32(_RTA_TABLE, table, _of(destination, "table"))
    return body


def _of(destination: str, key: str) -> str:
    return f"the {key} of the route to {destination}"


def _words(verb: str, index: int, destination: str, gateway: str) -> str:
    via = f" via {gateway}" if gateway else ""
    return f"{verb} route {destination}{via} on interface {index}"


def _number(found: dict[int, bytes], kind: int) -> int:
    payload = found.get(kind)
    return 0 if payload is None else wire.read_u32(payload)
