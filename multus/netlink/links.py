"""Messages that change, delete and list network interfaces.

`multus.netlink.create` has the messages that create them.  Every function that returns a `Message`
is for a batch; ``link`` is an interface's index (int) or its name (str).  The kernel looks up a
name when it processes the message, so a message may name what an earlier one of the batch creates.

Source: linux/rtnetlink.h, linux/if_link.h, rtnetlink(7).
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence

from attrs import field, frozen

from multus.api.errors import InvalidConfig, KernelRefused
from multus.api.hardware import hardware_address
from multus.netlink import wire
from multus.netlink._channel import Channel
from multus.netlink._namespace import Namespace
from multus.netlink.wire import Message

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK, _RTM_SETLINK = 16, 17, 18, 19
_RTM_NEWLINKPROP = 108

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER = 1, 3, 4, 5, 10
_IFLA_TXQLEN, _IFLA_OPERSTATE, _IFLA_LINKINFO, _IFLA_GROUP, _IFLA_NET_NS_FD = 13, 16, 18, 27, 28
_IFLA_IFALIAS = 20
_IFLA_EXT_MASK, _IFLA_LINK_NETNSID, _IFLA_PROP_LIST, _IFLA_ALT_IFNAME = 29, 37, 52, 53
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_RTEXT_FILTER_SKIP_STATS = 8

_IFF_UP, _IFF_LOOPBACK = 1, 8
_IFF_PROMISC, _IFF_ALLMULTI = 0x100, 0x200
_IFF_LOWER_UP = 0x10000
_OPERSTATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")

_LONGEST = 15

_IFINFOMSG = struct.Struct("=BxHiII")

# Administrators use group 0 ("default") and small numbers; a deletion uses a random large one.
_PRIVATE_GROUPS = 0x6D000000


@frozen
class Link:
    """An interface as the kernel describes it.

    ``peer`` is the index of a veth's other end or a macvlan's parent, in namespace
    ``peer_namespace`` (the kernel's id for it, None: the same one).  ``state`` is the operational
    state, ``mac`` is lower case with colons, ``kind`` is "veth", "macvlan" … or "".
    ``mtu`` is in bytes, ``txqlen`` in packets, ``master`` an index (0: none).  ``data`` has the
    kind's own attributes, undecoded: `multus.netlink.create` reads some.  ``promiscuous``
    and ``allmulti`` are what was asked of this interface.  ``alias`` is a free text, which moves
    with the interface.
    """

    index: int
    name: str
    mac: str
    mtu: int
    txqlen: int
    up: bool
    carrier: bool
    state: str
    kind: str
    group: int
    master: int
    peer: int
    peer_namespace: int | None
    alternative_names: tuple[str, ...]
    promiscuous: bool = False
    allmulti: bool = False
    alias: str = ""
    loopback: bool = False
    data: bytes = field(default=b"", eq=False, repr=False)


def set_up(link: int | str) -> Message:
    """Set an interface up."""
    return _set(link, f"set {_called(link)} up", flags=_IFF_UP, change=_IFF_UP)


def set_down(link: int | str) -> Message:
    """Set an interface down."""
    return _set(link, f"set {_called(link)} down", change=_IFF_UP)


def set_promiscuous(link: int | str, on: bool = True) -> Message:
    """Let an interface receive frames for all hardware addresses, or not."""
    words = f"set {_called(link)} {'' if on else 'not '}promiscuous"
    return _set(link, words, flags=_IFF_PROMISC if on else 0, change=_IFF_PROMISC)


def set_allmulti(link: int | str, on: bool = True) -> Message:
    """Let an interface receive frames for all multicast groups, or not."""
    words = f"set {_called(link)} to {'' if on else 'not '}receive all multicast"
    return _set(link, words, flags=_IFF_ALLMULTI if on else 0, change=_IFF_ALLMULTI)


def set_mtu(link: int | str, mtu: int) -> Message:
    """Set an interface's MTU, in bytes."""
    size = wire.u32(_IFLA_MTU, mtu, "the MTU of an interface")
    return _set(link, f"set the MTU of {_called(link)} to {mtu}", size)


def set_txqlen(link: int | str, packets: int) -> Message:
    """Set how many packets may wait in an interface's transmit queue."""
    size = wire.u32(_IFLA_TXQLEN, packets, "the queue length of an interface")
    return _set(link, f"set the queue length of {_called(link)} to {packets}", size)


def set_mac(link: int | str, mac: str) -> Message:
    """Set an interface's hardware address, six bytes in hexadecimal with colons."""
    words = f"set the MAC of {_called(link)} to {mac}"
    return _set(link, words, wire.attribute(_IFLA_ADDRESS, encode_mac(mac)))


def set_group(link: int | str, group: int) -> Message:
    """Put an interface into a group."""
    words = f"put {_called(link)} into group {group}"
    return _set(link, words, wire.u32(_IFLA_GROUP, group))


def set_master(link: int | str, master: int) -> Message:
    """Make an interface a port of the bridge (or bond) with this index; 0 removes it from one."""
    words = f"set the master of {_called(link)} to {master}"
    return _set(link, words, wire.u32(_IFLA_MASTER, master))


def set_alias(link: int | str, alias: str) -> Message:
    """Set an interface's alias, a text of up to 255 bytes; an empty one removes it."""
    words = f"set the alias of {_called(link)} to {alias!r}"
    return _set(link, words, wire.attribute(_IFLA_IFALIAS, alias.encode()))


def rename(index: int, name: str) -> Message:
    """Rename the interface with this index; kernels before 6.2 need it to be down."""
    return _set(index, f"rename interface {index} to {name}", wire.string(_IFLA_IFNAME, name))


def move(index: int, namespace: Namespace, name: str = "") -> Message:
    """Move the interface with this index to a namespace, under a new name when one is given.

    The moved interface is down and has no addresses; it keeps its index when that is free there.
    """
    more = [wire.u32(_IFLA_NET_NS_FD, namespace.fd)]
    if name:
        more.append(wire.string(_IFLA_IFNAME, name))
    return _set(index, f"move interface {index} to {namespace.path} as {name or 'it is'}", *more)


def add_alternative_name(link: int | str, name: str) -> Message:
    """Give an interface one more name, of up to 127 characters."""
    head, more = _addressed(link)
    names = wire.nested(_IFLA_PROP_LIST | wire.NLA_F_NESTED, wire.string(_IFLA_ALT_IFNAME, name))
    body = head + more + names
    flags = wire.NLM_F_CREATE | wire.NLM_F_EXCL | wire.NLM_F_APPEND
    return Message(_RTM_NEWLINKPROP, flags, body, f"add the name {name} to {_called(link)}")


def delete(link: int | str, *, missing_ok: bool = False) -> Message:
    """Delete an interface; deleting a veth also deletes its other end in any namespace."""
    head, more = _addressed(link)
    expected = (errno.ENODEV,) if missing_ok else ()
    return Message(_RTM_DELLINK, 0, head + more, f"delete {_called(link)}", expected)


def delete_many(names: Sequence[int | str]) -> list[Message]:
    """Delete interfaces of one namespace in the time of one: a batch, to be sent as it is.

    The kernel waits for an RCU grace period (some 20 ms) per request, not per interface.  The batch
    puts the interfaces into a random group, and one request deletes that group.  Other programs can
    see the group until then.  Missing interfaces are ignored.
    """
    if len(names) == 1:
        return [delete(names[0], missing_ok=True)]
    group = _PRIVATE_GROUPS + int.from_bytes(os.urandom(3), "little")
    grouped = []
    for name in names:
        message = set_group(name, group)
        grouped.append(
            Message(message.kind, message.flags, message.body, message.words, (errno.ENODEV,))
        )
    return [*grouped, _delete_group(group, len(names))] if names else []


def _delete_group(group: int, count: int) -> Message:
    body = _IFINFOMSG.pack(0, 0, 0, 0, 0) + wire.u32(_IFLA_GROUP, group)
    words = f"delete the {count} interfaces of group {group:#x}"
    # ENODEV: the group is empty, all interfaces were gone already.
    return Message(_RTM_DELLINK, 0, body, words, (errno.ENODEV,))


def get(link: int | str, *, missing_ok: bool = False) -> Message:
    """Ask for one interface; `read` makes a `Link` of the reply.

    With ``missing_ok`` the reply is None when the interface does not exist.
    """
    head, more = _addressed(link)
    body = head + more + wire.u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    expected = (errno.ENODEV,) if missing_ok else ()
    return Message(_RTM_GETLINK, 0, body, f"look up {_called(link)}", expected, replies=True)


def read_indexes(body: bytes | None) -> tuple[int, int]:
    """The index of the interface in the reply to `get`, and its ``peer``; 0 means none.

    Ten times as fast as `read`, which decodes the whole reply.
    """
    body = _there(body)
    peer = wire.first(body, _IFINFOMSG.size, _IFLA_LINK)
    return _IFINFOMSG.unpack_from(body)[2], 0 if peer is None else wire.read_u32(peer)


def read(body: bytes | None) -> Link:
    """The interface in the reply to `get`, or in one entry of a dump."""
    body = _there(body)
    _family, _type, index, flags, _change = _IFINFOMSG.unpack_from(body)
    found = dict(wire.attributes(body, _IFINFOMSG.size))
    info = dict(wire.attributes(found.get(_IFLA_LINKINFO, b""), 0))
    state = found.get(_IFLA_OPERSTATE, b"\0")[0]
    peer_namespace = found.get(_IFLA_LINK_NETNSID)
    return Link(
        index=index,
        name=wire.read_string(found.get(_IFLA_IFNAME, b"")),
        mac=decode_mac(found.get(_IFLA_ADDRESS, b"")),
        mtu=_number(found, _IFLA_MTU),
        txqlen=_number(found, _IFLA_TXQLEN),
        up=bool(flags & _IFF_UP),
        loopback=bool(flags & _IFF_LOOPBACK),
        carrier=bool(flags & _IFF_LOWER_UP),
        state=_OPERSTATES[state] if state < len(_OPERSTATES) else "unknown",
        kind=wire.read_string(info.get(_IFLA_INFO_KIND, b"")),
        group=_number(found, _IFLA_GROUP),
        master=_number(found, _IFLA_MASTER),
        peer=_number(found, _IFLA_LINK),
        peer_namespace=None if peer_namespace is None else wire.read_i32(peer_namespace),
        alternative_names=tuple(
            wire.read_string(payload)
            for kind, payload in wire.attributes(found.get(_IFLA_PROP_LIST, b""), 0)
            if kind == _IFLA_ALT_IFNAME
        ),
        promiscuous=bool(flags & _IFF_PROMISC),
        allmulti=bool(flags & _IFF_ALLMULTI),
        alias=wire.read_string(found.get(_IFLA_IFALIAS, b"")),
        data=info.get(_IFLA_INFO_DATA, b""),
    )


def _there(body: bytes | None) -> bytes:
    if body is None:
        raise KernelRefused("the kernel acknowledged a request without an interface in its answer")
    return body


def find(channel: Channel, link: int | str) -> Link | None:
    """The interface with this index or name, None where there is none."""
    reply = channel.request([get(link, missing_ok=True)])[0]
    return None if reply is None else read(reply)


def mac_of(channel: Channel, link: int | str) -> str:
    """The hardware address of an interface that exists, as text."""
    body = _there(channel.request([get(link)])[0])
    return decode_mac(wire.first(body, _IFINFOMSG.size, _IFLA_ADDRESS) or b"")


def list_all(channel: Channel) -> list[Link]:
    """All interfaces of the channel's namespace, by index."""
    body = _IFINFOMSG.pack(0, 0, 0, 0, 0) + wire.u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    return [read(entry) for entry in channel.dump(Message(_RTM_GETLINK, 0, body, "list links"))]


def encode_mac(mac: str) -> bytes:
    """The bytes of a hardware address; raises `InvalidConfig` when it is not one."""
    found = hardware_address(mac)
    if found is None:
        raise InvalidConfig(
            f'"{mac}" is not a hardware address: six bytes in hexadecimal with colons between'
        )
    return found


def canonical_mac(mac: str) -> str:
    """A hardware address for an interface, as `decode_mac` writes it; "" for none.

    Raises as `encode_mac`, also for one of six bytes that no interface can have.
    """
    address = encode_mac(mac) if mac else b""
    if len(address) == 6 and (address[0] & 1 or not any(address)):
        what = "a group's address" if any(address) else "no address"
        raise InvalidConfig(
            f"MAC {mac} is {what}, which no interface can have: use one whose second digit is even"
            " and that is not zero"
        )
    return decode_mac(address)


def local_mac(random: bytes) -> str:
    """A locally administered unicast hardware address made from six random bytes."""
    return bytes([random[0] & 0xFC | 2, *random[1:]]).hex(":")


def decode_mac(address: bytes) -> str:
    """A hardware address as text, lower case with colons; "" for none."""
    return address.hex(":") if address else ""


def _set(link: int | str, words: str, *more: bytes, flags: int = 0, change: int = 0) -> Message:
    head, named = _addressed(link, flags, change)
    return Message(_RTM_SETLINK, 0, head + named + b"".join(more), words)


def _addressed(link: int | str, flags: int = 0, change: int = 0) -> tuple[bytes, bytes]:
    if isinstance(link, int):
        return _IFINFOMSG.pack(0, 0, link, flags, change), b""
    # An interface has a name of up to 15 bytes, and alternative names that may be longer.
    kind = _IFLA_IFNAME if len(link.encode()) <= _LONGEST else _IFLA_ALT_IFNAME
    return _IFINFOMSG.pack(0, 0, 0, flags, change), wire.string(kind, link)


def _called(link: int | str) -> str:
    return f"interface {link}" if isinstance(link, int) else link


def _number(found: dict[int, bytes], kind: int) -> int:
    payload = found.get(kind)
    return 0 if payload is None else wire.read_u32(payload)
