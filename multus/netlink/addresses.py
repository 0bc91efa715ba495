"""Messages about IP addresses, and the wait until IPv6 addresses may be used.

An address is text with its prefix length: ``"10.1.2.3/24"``, ``"fd00::3/64"``.

Source: linux/if_addr.h, linux/rtnetlink.h, rtnetlink(7); RFC 4862, section 5.4 (duplicate address
detection).
"""

from __future__ import annotations

import errno
import struct
import time

from attrs import frozen

from multus.api.errors import InvalidConfig, KernelRefused
from multus.netlink import links, wire
from multus.netlink._channel import Channel
from multus.netlink._socket import socket
from multus.netlink.wire import Message

_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 3, 4, 8

_IFA_F_NODAD = 0x02
_IFA_F_DADFAILED = 0x08
_IFA_F_TENTATIVE = 0x40

_IFADDRMSG = struct.Struct("=BBBBI")

_SETTLE_INTERVAL = 0.02


@frozen
class Address:
    """An address as the kernel lists it: ``address`` is text with prefix length.

    ``tentative``: not usable yet, duplicate address detection runs.  ``duplicate``: it failed.
    """

    index: int
    address: str
    family: int
    scope: int
    broadcast: str
    label: str
    tentative: bool
    duplicate: bool


def add(
    index: int, address: str, *, broadcast: bool = True, detect_duplicates: bool = True
) -> Message:
    """An address on the interface with this index.

    IPv4: with ``broadcast``, prefixes up to /30 get their broadcast address, as with ``ip`` and the
    Go plugins.  IPv6: without ``detect_duplicates`` (``IFA_F_NODAD``) it is usable at once.
    """
    flags = b"" if detect_duplicates else wire.u32(_IFA_FLAGS, _IFA_F_NODAD)
    body = _body(index, address, broadcast) + flags
    create = wire.NLM_F_CREATE | wire.NLM_F_EXCL
    return Message(_RTM_NEWADDR, create, body, f"add address {address} to interface {index}")


def add_settled(index: int, address: str) -> list[Message]:
    """An IPv6 address that is usable at once and has no special flag afterwards.

    For a link on which no other host can have it.  The first message adds it with ``IFA_F_NODAD``;
    the second replaces it without that flag, which starts no duplicate address detection.
    """
    plain = _body(index, address, broadcast=False)
    words = f"add address {address} to interface {index}"
    return [
        add(index, address, detect_duplicates=False),
        Message(_RTM_NEWADDR, wire.NLM_F_REPLACE, plain, f"{words}, second step"),
    ]


def delete(index: int, address: str, *, missing_ok: bool = False) -> Message:
    """Delete an address from the interface with this index."""
    expected = (errno.EADDRNOTAVAIL, errno.ENODEV) if missing_ok else ()
    body = _body(index, address, broadcast=False)
    words = f"delete address {address} from interface {index}"
    return Message(_RTM_DELADDR, 0, body, words, expected)


def list_of(channel: Channel, index: int = 0, family: int = socket.AF_UNSPEC) -> list[Address]:
    """The addresses of one interface (index 0: of all), of one family or of all."""
    body = _IFADDRMSG.pack(family, 0, 0, 0, index)
    bodies = channel.dump(Message(_RTM_GETADDR, 0, body, f"list addresses of interface {index}"))
    return [found for found in map(read, bodies) if index in (0, found.index)]


def read(body: bytes) -> Address:
    """The address in one entry of a dump or in a notification."""
    family, prefix, old_flags, scope, index = _IFADDRMSG.unpack_from(body)
    found = dict(wire.attributes(body, _IFADDRMSG.size))
    flags = wire.read_u32(found[_IFA_FLAGS]) if _IFA_FLAGS in found else old_flags
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b"")
    broadcast = found.get(_IFA_BROADCAST)
    return Address(
        index=index,
        address=f"{socket.inet_ntop(family, packed)}/{prefix}",
        family=family,
        scope=scope,
        broadcast="" if broadcast is None else socket.inet_ntop(family, broadcast),
        label=wire.read_string(found.get(_IFA_LABEL, b"")),
        tentative=bool(flags & _IFA_F_TENTATIVE),
        duplicate=bool(flags & _IFA_F_DADFAILED),
    )


def settle(channel: Channel, index: int, seconds: float = 5.0) -> None:
    """Wait until no IPv6 address of the interface is tentative any more.

    Raises `KernelRefused` for an address that another host on the link has, and for one that is
    still tentative after ``seconds`` on a link with carrier.  Without carrier the kernel does not
    look for duplicates, and the function returns after ``seconds``: the carrier may come meanwhile.
    """
    deadline = time.monotonic() + seconds
    while True:
        waiting = []
        for found in list_of(channel, index, socket.AF_INET6):
            if found.duplicate:
                raise KernelRefused(
                    f"the address {found.address} of interface {index} is a duplicate: another "
                    "host on this link has it"
                )
            if found.tentative:
                waiting.append(found.address)
        if not waiting:
            return
        if time.monotonic() > deadline:
            link = links.find(channel, index)
            if link is None or not link.carrier:
                return
            raise KernelRefused(
                f"{', '.join(waiting)} on {link.name}: still tentative after {seconds:g} s"
            )
        time.sleep(_SETTLE_INTERVAL)


def encode(address: str) -> tuple[int, bytes, int]:
    """Family, bytes and prefix length of ``address/prefix``; the default is /32 or /128.

    Raises `InvalidConfig` when it is not an address.
    """
    host, slash, length = address.partition("/")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bits = 128 if family == socket.AF_INET6 else 32
    try:
        packed = socket.inet_pton(family, host)
        prefix = int(length) if slash else bits
        if not 0 <= prefix <= bits:
            raise ValueError(length)
    except (OSError, ValueError):
        raise InvalidConfig(
            f'"{address}" is not an IP address with prefix length, like 10.1.2.3/24 or fd00::3/64'
        ) from None
    return int(family), packed, prefix


def network_of(address: str) -> str:
    """The network of an address: ``10.1.2.3/24`` is in ``10.1.2.0/24``."""
    family, packed, prefix = encode(address)
    bits = len(packed) * 8
    masked = int.from_bytes(packed, "big") >> (bits - prefix) << (bits - prefix)
    return f"{socket.inet_ntop(family, masked.to_bytes(len(packed), 'big'))}/{prefix}"


def _body(index: int, address: str, broadcast: bool) -> bytes:
    family, packed, prefix = encode(address)
    body = (
        _IFADDRMSG.pack(family, prefix, 0, 0, index)
        + wire.attribute(_IFA_LOCAL, packed)
        + wire.attribute(_IFA_ADDRESS, packed)
    )
    if broadcast and family == socket.AF_INET and prefix < 31:
        last = int.from_bytes(packed, "big") | ((1 << (32 - prefix)) - 1)
        body += wire.attribute(_IFA_BROADCAST, last.to_bytes(4, "big"))
    return body
