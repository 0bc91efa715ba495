"""Messages about neighbour entries: the hardware address of an IP address on a link.

Source: linux/neighbour.h, rtnetlink(7).
"""

from __future__ import annotations

import errno
import struct

from multus.netlink import wire
from multus.netlink.addresses import encode
from multus.netlink.links import encode_mac
from multus.netlink.wire import Message

_RTM_NEWNEIGH, _RTM_DELNEIGH = 28, 29
_NDA_DST, _NDA_LLADDR = 1, 2
_NUD_PERMANENT = 0x80
_NTF_PROXY = 0x08
_NDMSG = struct.Struct("=BxHiHBB")


def add(index: int, address: str, mac: str) -> Message:
    """A permanent entry: ``address`` (no prefix) on the interface with this index has ``mac``."""
    family, packed, _prefix = encode(address)
    body = _NDMSG.pack(family, 0, index, _NUD_PERMANENT, 0, 0)
    body += wire.attribute(_NDA_DST, packed) + wire.attribute(_NDA_LLADDR, encode_mac(mac))
    words = f"add neighbour {address} with {mac} on interface {index}"
    return Message(_RTM_NEWNEIGH, wire.NLM_F_CREATE | wire.NLM_F_REPLACE, body, words)


def add_proxy(index: int, address: str) -> Message:
    """Answer for ``address`` on the interface with this index (proxy ARP, proxy NDP)."""
    family, packed, _prefix = encode(address)
    body = _NDMSG.pack(family, 0, index, _NUD_PERMANENT, _NTF_PROXY, 0)
    body += wire.attribute(_NDA_DST, packed)
    words = f"answer for neighbour {address} on interface {index}"
    return Message(_RTM_NEWNEIGH, wire.NLM_F_CREATE | wire.NLM_F_REPLACE, body, words)


def delete(index: int, address: str, *, missing_ok: bool = False) -> Message:
    """Delete a neighbour entry."""
    family, packed, _prefix = encode(address)
    body = _NDMSG.pack(family, 0, index, 0, 0, 0) + wire.attribute(_NDA_DST, packed)
    expected = (errno.ENOENT, errno.ENODEV) if missing_ok else ()
    words = f"delete neighbour {address} from interface {index}"
    return Message(_RTM_DELNEIGH, 0, body, words, expected)
