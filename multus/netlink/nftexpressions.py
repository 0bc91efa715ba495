"""What a rule of nf_tables is made of: what it matches, and what it does.

A match is a list of expressions, and an action is one expression; a rule has them in order::

    [*address("source", "10.1.2.3"), *port("udp", 53), translate_to("10.9.9.9", 5353)]

Addresses and networks are text: ``"10.1.2.3"``, ``"fd00::/64"``.  In a table of family INET a match
of an address has to follow `of_family`.

Source: linux/netfilter/nf_tables.h; nft(8), by ``nft --debug=netlink``.
"""

from __future__ import annotations

from collections.abc import Sequence

from multus.api.errors import InvalidConfig
from multus.netlink import wire
from multus.netlink._socket import socket
from multus.netlink.addresses import encode

#: The transport protocols that have ports.
PROTOCOLS = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132, "udplite": 136}

_LIST_ELEMENT, _EXPRESSION_NAME, _EXPRESSION_DATA = 1, 1, 2
_DROP, _ACCEPT, _JUMP, _GOTO, _RETURN = 0, 1, -3, -4, -5
_REGISTER_VERDICT, _REGISTER_1, _REGISTER_2 = 0, 1, 2
_META_MARK, _META_INPUT_NAME, _META_NFPROTO, _META_L4PROTO = 3, 6, 15, 16
_LINK_HEADER, _NETWORK_HEADER, _TRANSPORT_HEADER = 0, 1, 2
_EQUAL, _NOT_EQUAL = 0, 1
_AND_THEN_XOR = 0
_FIB_ADDRESS_TYPE, _FIB_DESTINATION = 3, 2
_ROUTE_LOCAL = 2
_NAT_DESTINATION, _PORT_GIVEN = 1, 2
_NAME_SIZE = 16
_COUNTER = wire.string(_EXPRESSION_NAME, "counter")

#: Offsets of the addresses in the network header.
_OFFSETS: dict[tuple[str, int], int] = {
    ("source", socket.AF_INET): 12,
    ("destination", socket.AF_INET): 16,
    ("source", socket.AF_INET6): 8,
    ("destination", socket.AF_INET6): 24,
}


# --- Matches --------------------------------------------------------------------------------------


def of_family(address: str) -> list[bytes]:
    """Matches packets of this address's (or network's) family."""
    meta = _meta(_META_NFPROTO)
    return [meta, _compare(_EQUAL, bytes([encode(address)[0]]))]


def address(end: str, network: str, *, inside: bool = True) -> list[bytes]:
    """Matches packets whose *end* (source or destination) is this address, or in this network.

    Without *inside*, those whose end is not.
    """
    family, packed, prefix = encode(network)
    offset = _OFFSETS[end, family]
    operator = _EQUAL if inside else _NOT_EQUAL
    if prefix and prefix % 8 == 0:
        size = prefix // 8
        return [_load(_NETWORK_HEADER, offset, size), _compare(operator, packed[:size])]
    size = len(packed)
    mask = (((1 << prefix) - 1) << (size * 8 - prefix)).to_bytes(size, "big")
    masked = bytes(one & other for one, other in zip(packed, mask, strict=True))
    return [_load(_NETWORK_HEADER, offset, size), _mask(mask), _compare(operator, masked)]


def port(protocol: str, number: int) -> list[bytes]:
    """Matches packets of this transport protocol to this port.

    Raises ``InvalidConfig`` for a protocol that has no ports.
    """
    if protocol not in PROTOCOLS:
        raise InvalidConfig(
            f"{protocol!r} is not a protocol with ports", fix=f"use one of {', '.join(PROTOCOLS)}"
        )
    return [*protocol_of(PROTOCOLS[protocol]), *destination_port(number)]


def protocol_of(number: int) -> list[bytes]:
    """Matches packets of the transport protocol with this number."""
    return [_meta(_META_L4PROTO), _compare(_EQUAL, bytes([number]))]


def header_protocol(number: int) -> list[bytes]:
    """Matches packets of IPv4 by the header's field for the transport protocol."""
    return [_load(_NETWORK_HEADER, 9, 1), _compare(_EQUAL, bytes([number]))]


def destination_port(number: int) -> list[bytes]:
    """Matches packets to this port, of a transport protocol that has ports."""
    return [_load(_TRANSPORT_HEADER, 2, 2), _compare(_EQUAL, number.to_bytes(2, "big"))]


def mark(value: int, mask: int) -> list[bytes]:
    """Matches packets whose mark has *value* in the bits of *mask*."""
    # The kernel keeps a mark in the machine's byte order.
    packed, bits = (wire.u32(0, each)[4:] for each in (value, mask))
    return [_meta(_META_MARK), _mask(bits), _compare(_EQUAL, packed)]


def to_this_host() -> list[bytes]:
    """Matches packets to any address of the host."""
    fib = _expression(
        "fib",
        wire.be32(1, _REGISTER_1),
        wire.be32(2, _FIB_ADDRESS_TYPE),
        wire.be32(3, _FIB_DESTINATION),
    )
    # The kernel writes this number in the machine's byte order.
    return [fib, _compare(_EQUAL, wire.u32(0, _ROUTE_LOCAL)[4:])]


def from_interface(name: str) -> list[bytes]:
    """Matches packets that came in by this interface, which need not exist."""
    raw = name.encode()
    if len(raw) >= _NAME_SIZE:
        raise InvalidConfig(f"{name!r} is longer than the name of an interface", fix="correct it")
    return [_meta(_META_INPUT_NAME), _compare(_EQUAL, raw.ljust(_NAME_SIZE, b"\0"))]


def from_mac(mac: bytes) -> list[bytes]:
    """Matches frames from this Ethernet address, six bytes; for tables of family BRIDGE."""
    return [_load(_LINK_HEADER, 6, 6), _compare(_EQUAL, mac)]


# --- Actions --------------------------------------------------------------------------------------


def masquerade() -> bytes:
    """Sets the packet's source address to that of its outgoing link."""
    return _expression("masq")


def translate_to(address: str, number: int) -> list[bytes]:
    """Sets the destination's address and port."""
    family, packed, _prefix = encode(address)
    nat = _expression(
        "nat",
        wire.be32(1, _NAT_DESTINATION),
        wire.be32(2, family),
        wire.be32(3, _REGISTER_1),
        wire.be32(5, _REGISTER_2),
        wire.be32(7, _PORT_GIVEN),
    )
    return [
        _immediate(_REGISTER_1, wire.attribute(1, packed)),
        _immediate(_REGISTER_2, wire.attribute(1, number.to_bytes(2, "big"))),
        nat,
    ]


def jump(chain: str) -> bytes:
    """Continues in another chain, and returns after its end."""
    return _verdict(_JUMP, wire.string(2, chain))


def goto(chain: str) -> bytes:
    """Continues in another chain, without returning."""
    return _verdict(_GOTO, wire.string(2, chain))


def leave() -> bytes:
    """Ends the chain."""
    return _verdict(_RETURN)


def drop() -> bytes:
    """Drops the packet."""
    return _verdict(_DROP)


def accept() -> bytes:
    """Accepts the packet: no later rule of this hook's chain sees it."""
    return _verdict(_ACCEPT)


# --- Of iptables ----------------------------------------------------------------------------------


def counter() -> bytes:
    """Counts packets and bytes, from 0."""
    return _expression("counter", *(wire.attribute(kind, bytes(8)) for kind in (1, 2)))


def extension(kind: str, name: str, revision: int, data: bytes) -> bytes:
    """An extension of iptables, of this *kind* (match or target), with its own data."""
    return _expression(kind, wire.string(1, name), wire.be32(2, revision), wire.attribute(3, data))


def are_listed(body: bytes, expressions: Sequence[bytes]) -> bool:
    """Whether a rule that the kernel lists has exactly these expressions, whatever it has counted.

    *body* is that of `multus.netlink.nftables.Rule`.
    """
    ours = b"".join(map(_listed, expressions))
    return len(ours) == len(body) and ours == _zeroed(body)


# --- Bytes ----------------------------------------------------------------------------------------


def _listed(body: bytes) -> bytes:
    """Attributes as the kernel lists them: without the flag of those that have attributes."""
    found, start = b"", 0
    while start < len(body):
        size, kind = wire.head(body, start)
        payload = body[start + 4 : start + size]
        plain = _listed(payload) if kind & wire.NLA_F_NESTED else payload
        found += wire.attribute(kind & ~wire.NLA_F_NESTED, plain)
        start += (size + 3) & ~3
    return found


def _zeroed(body: bytes) -> bytes:
    """A rule's expressions with nothing counted yet."""
    start = body.find(_COUNTER)
    if start < 0:
        return body
    # Both numbers are 8 bytes, after the heads of the data and of themselves.
    for at in (start + len(_COUNTER) + 8, start + len(_COUNTER) + 20):
        body = body[:at] + bytes(8) + body[at + 8 :]
    return body


def _expression(name: str, *attributes: bytes) -> bytes:
    data = wire.flagged(_EXPRESSION_DATA, *attributes)
    return wire.flagged(_LIST_ELEMENT, wire.string(_EXPRESSION_NAME, name), data)


def _meta(key: int) -> bytes:
    return _expression("meta", wire.be32(2, key), wire.be32(1, _REGISTER_1))


def _load(header: int, offset: int, size: int) -> bytes:
    return _expression(
        "payload",
        wire.be32(1, _REGISTER_1),
        wire.be32(2, header),
        wire.be32(3, offset),
        wire.be32(4, size),
    )


def _compare(operator: int, value: bytes) -> bytes:
    data = wire.flagged(3, wire.attribute(1, value))
    return _expression("cmp", wire.be32(1, _REGISTER_1), wire.be32(2, operator), data)


def _mask(mask: bytes) -> bytes:
    return _expression(
        "bitwise",
        wire.be32(1, _REGISTER_1),
        wire.be32(2, _REGISTER_1),
        wire.be32(3, len(mask)),
        wire.be32(6, _AND_THEN_XOR),
        wire.flagged(4, wire.attribute(1, mask)),
        wire.flagged(5, wire.attribute(1, bytes(len(mask)))),
    )


def _immediate(register: int, data: bytes) -> bytes:
    return _expression("immediate", wire.be32(1, register), wire.flagged(2, data))


def _verdict(code: int, *chain: bytes) -> bytes:
    return _immediate(_REGISTER_VERDICT, wire.flagged(2, wire.be32(1, code), *chain))
