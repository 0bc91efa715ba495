"""Messages that create links, each in the namespace where it belongs.

Every function returns a `Message` for a batch.  With ``namespace`` the link is created there;
without, in the namespace of the channel that sends the message.  ``parent`` is the index of an
interface in the *channel's* namespace: send the message from the parent's namespace.  Moving a link
afterwards makes the kernel wait for two RCU grace periods (some 20 ms); creating it in place does
not wait.

Common arguments: ``mtu`` in bytes and ``txqlen`` in packets (0: the kernel's default), ``mac`` six
bytes in hexadecimal with colons ("": the kernel chooses), ``up``: set up at once.  An argument that
does not fit the message raises `InvalidConfig` here.  A message that the kernel refuses raises
`Refused` when it is sent: ``EEXIST`` when the namespace has a link of that name, ``ENODEV`` when
the parent does not exist.

Source: linux/if_link.h; rtnetlink(7); net/core/rtnetlink.c (``rtnl_newlink``).
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from multus.api.errors import InvalidConfig
from multus.netlink import wire
from multus.netlink.links import encode_mac
from multus.netlink.wire import Message

if TYPE_CHECKING:
    from multus.netlink._namespace import Namespace
    from multus.netlink.links import Link

_RTM_NEWLINK = 16
_CREATE = wire.NLM_F_CREATE | wire.NLM_F_EXCL
_IFF_UP = 1
_IFINFOMSG = struct.Struct("=BxHiII")

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER = 1, 3, 4, 5, 10
_IFLA_TXQLEN, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 13, 18, 28
_IFLA_NUM_TX_QUEUES, _IFLA_NUM_RX_QUEUES = 31, 32
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2

_VETH_INFO_PEER = 1
_IFLA_MACVLAN_MODE = 1
_IFLA_IPVLAN_MODE, _IFLA_IPVLAN_FLAGS = 1, 2
_IFLA_VLAN_ID, _IFLA_VLAN_PROTOCOL = 1, 5
_IFLA_BR_VLAN_FILTERING, _IFLA_BR_VLAN_DEFAULT_PVID = 7, 39
_IFLA_VXLAN_ID, _IFLA_VXLAN_GROUP, _IFLA_VXLAN_LINK, _IFLA_VXLAN_LOCAL = 1, 2, 3, 4
_IFLA_VXLAN_TTL, _IFLA_VXLAN_LEARNING, _IFLA_VXLAN_PORT = 5, 7, 15
_IFLA_VXLAN_GROUP6, _IFLA_VXLAN_LOCAL6 = 16, 17
_IFLA_VRF_TABLE = 1

#: Modes by their names in configurations and in ``ip link``.
MACVLAN_MODES: Mapping[str, int] = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES: Mapping[str, int] = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS: Mapping[str, int] = {"bridge": 0, "private": 1, "vepa": 2}
VLAN_PROTOCOLS: Mapping[str, int] = {"802.1q": 0x8100, "802.1ad": 0x88A8}

#: The port that IANA gave VXLAN; the kernel's own default is an older one.
VXLAN_PORT = 4789


#: A veth's queues.  The kernel's default is one for each processor, of which it then turns off all
#: but the first, and waits for two grace periods.
_ONE_QUEUE = (wire.u32(_IFLA_NUM_TX_QUEUES, 1), wire.u32(_IFLA_NUM_RX_QUEUES, 1))


def veth(
    name: str,
    peer: str,
    *,
    namespace: Namespace | None = None,
    peer_namespace: Namespace | None = None,
    mtu: int = 0,
    mac: str = "",
    peer_mac: str = "",
    txqlen: int = 0,
    master: int = 0,
    up: bool = False,
) -> Message:
    """A veth pair: *name* here (or in *namespace*), *peer* there (or in *peer_namespace*).

    ``mtu`` and ``txqlen`` are for both ends.  ``master`` (the index of a bridge beside *name*) and
    ``up`` are for the near end: the kernel refuses to create the peer up, so a later message does
    that.  Each end has one queue in each direction.
    """
    far = [wire.string(_IFLA_IFNAME, peer), *_common(peer_namespace, mtu, peer_mac, txqlen)]
    far += _ONE_QUEUE
    peer_info = wire.nested(_VETH_INFO_PEER, _IFINFOMSG.pack(0, 0, 0, 0, 0), *far)
    more = [*_common(namespace, mtu, mac, txqlen), *_ONE_QUEUE]
    if master:
        more.append(wire.u32(_IFLA_MASTER, master, "the index of a master"))
    words = f"create veth {name}{_in(namespace)} with peer {peer}{_in(peer_namespace)}"
    return _create(name, "veth", words, more, [peer_info], up)


def macvlan(
    name: str,
    parent: int,
    *,
    namespace: Namespace | None = None,
    mode: str = "bridge",
    mtu: int = 0,
    mac: str = "",
    txqlen: int = 0,
    up: bool = False,
) -> Message:
    """A macvlan on *parent*; mode private, vepa, bridge or passthru."""
    data = [wire.u32(_IFLA_MACVLAN_MODE, _chosen("macvlan mode", mode, MACVLAN_MODES))]
    words = f"create macvlan {name} on interface {parent}{_in(namespace)}"
    more = [wire.u32(_IFLA_LINK, parent), *_common(namespace, mtu, mac, txqlen)]
    return _create(name, "macvlan", words, more, data, up)


def macvlan_mode(link: Link) -> str:
    """The mode of a macvlan that was read, by its name; "" when it has none."""
    payload = dict(wire.attributes(link.data, 0)).get(_IFLA_MACVLAN_MODE)
    return "" if payload is None else _named(wire.read_u32(payload), MACVLAN_MODES)


def ipvlan(
    name: str,
    parent: int,
    *,
    namespace: Namespace | None = None,
    mode: str = "l2",
    flag: str = "bridge",
    mtu: int = 0,
    txqlen: int = 0,
    up: bool = False,
) -> Message:
    """An ipvlan on *parent*; mode l2, l3 or l3s; flag bridge, private or vepa.

    It has the parent's hardware address.  All ipvlans of one parent share one mode: that of the
    newest.
    """
    data = [wire.u16(_IFLA_IPVLAN_MODE, _chosen("ipvlan mode", mode, IPVLAN_MODES))]
    flags = _chosen("ipvlan flag", flag, IPVLAN_FLAGS)
    if flags:
        data.append(wire.u16(_IFLA_IPVLAN_FLAGS, flags))
    words = f"create ipvlan {name} on interface {parent}{_in(namespace)}"
    more = [wire.u32(_IFLA_LINK, parent), *_common(namespace, mtu, "", txqlen)]
    return _create(name, "ipvlan", words, more, data, up)


def ipvlan_mode(link: Link) -> str:
    """The mode of an ipvlan that was read, by its name; "" when it has none."""
    payload = dict(wire.attributes(link.data, 0)).get(_IFLA_IPVLAN_MODE)
    return "" if payload is None else _named(int.from_bytes(payload, sys.byteorder), IPVLAN_MODES)


def vlan(
    name: str,
    parent: int,
    tag: int,
    *,
    namespace: Namespace | None = None,
    protocol: str = "802.1q",
    mtu: int = 0,
    mac: str = "",
    txqlen: int = 0,
    up: bool = False,
) -> Message:
    """A VLAN interface for *tag* (0 to 4094) on *parent*; protocol 802.1q or 802.1ad."""
    ethertype = _chosen("VLAN protocol", protocol, VLAN_PROTOCOLS)
    data = [
        wire.u16(_IFLA_VLAN_ID, tag, "a VLAN"),
        wire.attribute(_IFLA_VLAN_PROTOCOL, ethertype.to_bytes(2, "big")),
    ]
    words = f"create VLAN {tag} of interface {parent} as {name}{_in(namespace)}"
    more = [wire.u32(_IFLA_LINK, parent), *_common(namespace, mtu, mac, txqlen)]
    return _create(name, "vlan", words, more, data, up)


def vlan_tag(link: Link) -> int:
    """The tag of a VLAN interface that was read; 0 when it has none."""
    payload = dict(wire.attributes(link.data, 0)).get(_IFLA_VLAN_ID)
    return 0 if payload is None else int.from_bytes(payload, sys.byteorder)


def bridge(
    name: str,
    *,
    namespace: Namespace | None = None,
    vlan_filtering: bool = False,
    default_pvid: int | None = None,
    mtu: int = 0,
    mac: str = "",
    txqlen: int = 0,
    up: bool = False,
) -> Message:
    """A bridge.  Its ports are made by `links.set_master`, and set up by `multus.netlink.bridges`.

    With ``vlan_filtering`` a frame passes only through ports that allow its VLAN.  ``default_pvid``
    is the untagged VLAN of every new port: 0 for none, None for the kernel's default, which is 1.
    """
    data = [wire.u8(_IFLA_BR_VLAN_FILTERING, 1)] if vlan_filtering else []
    if default_pvid is not None:
        data.append(wire.u16(_IFLA_BR_VLAN_DEFAULT_PVID, default_pvid, "the default VLAN"))
    words = f"create bridge {name}{_in(namespace)}"
    return _create(name, "bridge", words, _common(namespace, mtu, mac, txqlen), data, up)


def vxlan(
    name: str,
    identifier: int,
    *,
    namespace: Namespace | None = None,
    remote: str = "",
    local: str = "",
    parent: int = 0,
    port: int = VXLAN_PORT,
    ttl: int = 0,
    learning: bool = True,
    mtu: int = 0,
    mac: str = "",
    txqlen: int = 0,
    up: bool = False,
) -> Message:
    """A VXLAN tunnel with this *identifier* (24 bits).

    Its UDP packets are sent in the namespace of the channel that sends this message, also when the
    link is in another one.  ``remote`` is the other end's address, or a multicast group, which
    needs ``parent``; without it, forwarding entries name the destination.  ``local`` is the source
    address.  ``port`` is the UDP port; ``ttl`` 0 means the system's default.  With ``learning`` the
    tunnel learns the remote end of each hardware address from incoming packets.
    """
    data = [
        wire.u32(_IFLA_VXLAN_ID, identifier, "a VXLAN identifier"),
        *_tunnel_end(remote, _IFLA_VXLAN_GROUP, _IFLA_VXLAN_GROUP6),
        *([wire.u32(_IFLA_VXLAN_LINK, parent)] if parent else []),
        *_tunnel_end(local, _IFLA_VXLAN_LOCAL, _IFLA_VXLAN_LOCAL6),
        *([wire.u8(_IFLA_VXLAN_TTL, ttl, "a TTL")] if ttl else []),
        wire.u8(_IFLA_VXLAN_LEARNING, learning),
        wire.be16(_IFLA_VXLAN_PORT, port, "a UDP port"),
    ]
    words = f"create VXLAN {identifier} as {name}{_in(namespace)}"
    return _create(name, "vxlan", words, _common(namespace, mtu, mac, txqlen), data, up)


def vrf(name: str, table: int, *, namespace: Namespace | None = None, up: bool = False) -> Message:
    """A VRF: interfaces whose master it is (`links.set_master`) use this routing table."""
    data = [wire.u32(_IFLA_VRF_TABLE, table, "the table of a VRF")]
    words = f"create VRF {name} of table {table}{_in(namespace)}"
    return _create(name, "vrf", words, _common(namespace, 0, "", 0), data, up)


def vrf_table(link: Link) -> int:
    """The routing table of a VRF that was read; 0 for another kind of link."""
    payload = dict(wire.attributes(link.data, 0)).get(_IFLA_VRF_TABLE)
    return 0 if payload is None or link.kind != "vrf" else wire.read_u32(payload)


def plain(
    name: str,
    kind: str,
    *,
    namespace: Namespace | None = None,
    mtu: int = 0,
    mac: str = "",
    txqlen: int = 0,
    up: bool = False,
) -> Message:
    """A link of a kind that needs only a name: ``dummy``, ``ifb``."""
    words = f"create {kind} {name}{_in(namespace)}"
    return _create(name, kind, words, _common(namespace, mtu, mac, txqlen), [], up)


def _create(
    name: str,
    kind: str,
    words: str,
    more: Sequence[bytes],
    data: Sequence[bytes],
    up: bool,
) -> Message:
    flags = _IFF_UP if up else 0
    info = [wire.string(_IFLA_INFO_KIND, kind)]
    if data:
        info.append(wire.nested(_IFLA_INFO_DATA, *data))
    body = _IFINFOMSG.pack(0, 0, 0, flags, flags) + wire.string(_IFLA_IFNAME, name)
    body += b"".join(more) + wire.nested(_IFLA_LINKINFO, *info)
    return Message(_RTM_NEWLINK, _CREATE, body, words)


def _common(namespace: Namespace | None, mtu: int, mac: str, txqlen: int) -> list[bytes]:
    more = [wire.u32(_IFLA_MTU, mtu, "the MTU of an interface")] if mtu else []
    if mac:
        more.append(wire.attribute(_IFLA_ADDRESS, encode_mac(mac)))
    if txqlen:
        more.append(wire.u32(_IFLA_TXQLEN, txqlen, "the queue length of an interface"))
    if namespace is not None:
        more.append(wire.u32(_IFLA_NET_NS_FD, namespace.fd))
    return more


def _tunnel_end(address: str, v4: int, v6: int) -> list[bytes]:
    if not address:
        return []
    from multus.netlink.addresses import encode

    packed = encode(address)[1]
    return [wire.attribute(v4 if len(packed) == 4 else v6, packed)]


def _chosen(what: str, name: str, known: Mapping[str, int]) -> int:
    if name not in known:
        raise InvalidConfig(f'{what} "{name}" is not known: use one of {", ".join(known)}')
    return known[name]


def _named(number: int, known: Mapping[str, int]) -> str:
    return next((name for name, each in known.items() if each == number), "")


def _in(namespace: Namespace | None) -> str:
    return "" if namespace is None else f" in {namespace.path}"
