"""The messages to nf_tables that masquerading needs.

Numbers are in network byte order, and nested attributes carry ``NLA_F_NESTED``.

Source: linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import NamedTuple

from multus.netlink import Channel, Message, wire
from multus.netlink.addresses import encode

#: The kernel's errors when the table is missing, or nf_tables itself.
ABSENT = (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL)

INET = 1
_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEWTABLE, _NEWCHAIN, _GETCHAIN, _NEWRULE, _GETRULE, _DELRULE = (
    _SUBSYSTEM << 8 | number for number in (0, 3, 4, 6, 7, 8)
)

_TABLE_NAME, _TABLE_USERDATA = 1, 6
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY = 1, 3, 4, 5
_CHAIN_TYPE, _CHAIN_USERDATA = 7, 12
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS, _RULE_USERDATA = 1, 2, 3, 4, 7
_LIST_ELEMENT, _EXPRESSION_NAME, _EXPRESSION_DATA = 1, 1, 2

_POSTROUTING, _SOURCE_NAT, _ACCEPT = 4, 100, 1
_GOTO, _RETURN = -4, -5
_REGISTER_VERDICT, _REGISTER_1 = 0, 1
_META_NFPROTO = 15
_NETWORK_HEADER = 1
_EQUAL, _NOT_EQUAL = 0, 1

#: Offsets of the addresses in the network header: source, destination.
_OFFSETS = {socket.AF_INET: (12, 16), socket.AF_INET6: (8, 24)}


class Rule(NamedTuple):
    """A rule in the kernel: its handle, and its comment ("" for none)."""

    handle: int
    comment: str


def commit(channel: Channel, messages: Sequence[Message]) -> None:
    """Apply these changes: all of them, or none."""
    ends = [
        Message(kind, 0, _head(socket.AF_UNSPEC, _SUBSYSTEM), words, acknowledged=False)
        for kind, words in ((_BATCH_BEGIN, "change the rules"), (_BATCH_END, "change the rules"))
    ]
    channel.request([ends[0], *messages, ends[1]])


def add_table(table: str, comment: str) -> Message:
    """Add a table of family inet; an existing one stays."""
    body = wire.string(_TABLE_NAME, table) + _comment(_TABLE_USERDATA, comment)
    return _change(_NEWTABLE, body, f"add table {table}")


def add_chain(table: str, chain: str, comment: str) -> Message:
    """Add a chain that rules may jump to; an existing one stays."""
    body = wire.string(_CHAIN_TABLE, table) + wire.string(_CHAIN_NAME, chain)
    body += _comment(_CHAIN_USERDATA, comment)
    return _change(_NEWCHAIN, body, f"add chain {chain} to table {table}")


def add_postrouting(table: str, chain: str) -> Message:
    """Add a base chain at the postrouting hook, with the priority of source NAT."""
    hook = _nested(_CHAIN_HOOK, wire.be32(1, _POSTROUTING), wire.be32(2, _SOURCE_NAT))
    body = wire.string(_CHAIN_TABLE, table) + wire.string(_CHAIN_NAME, chain) + hook
    body += wire.string(_CHAIN_TYPE, "nat") + wire.be32(_CHAIN_POLICY, _ACCEPT)
    return _change(_NEWCHAIN, body, f"add chain {chain} to table {table}")


def add_rule(table: str, chain: str, expressions: Sequence[bytes], comment: str = "") -> Message:
    """Append a rule to the chain."""
    body = wire.string(_RULE_TABLE, table) + wire.string(_RULE_CHAIN, chain)
    body += _nested(_RULE_EXPRESSIONS, *expressions)
    if comment:
        body += _comment(_RULE_USERDATA, comment)
    words = f"add a rule to chain {chain} of table {table}"
    return _change(_NEWRULE, body, words, wire.NLM_F_APPEND)


def delete_rule(table: str, chain: str, handle: int) -> Message:
    """Delete one rule."""
    body = wire.string(_RULE_TABLE, table) + wire.string(_RULE_CHAIN, chain)
    body += wire.attribute(_RULE_HANDLE, handle.to_bytes(8, "big"))
    return Message(_DELRULE, 0, _head(INET) + body, f"delete rule {handle} of chain {chain}")


def flush(table: str, chain: str) -> Message:
    """Delete all rules of a chain."""
    body = wire.string(_RULE_TABLE, table) + wire.string(_RULE_CHAIN, chain)
    return Message(_DELRULE, 0, _head(INET) + body, f"flush chain {chain} of table {table}")


def has_chain(family: int, table: str, chain: str) -> Message:
    """Ask for a chain; the reply is None when it does not exist."""
    body = wire.string(_CHAIN_TABLE, table) + wire.string(_CHAIN_NAME, chain)
    words = f"look up chain {chain} of table {table}"
    return Message(_GETCHAIN, 0, _head(family) + body, words, (errno.ENOENT,))


def list_rules(channel: Channel, table: str, chain: str) -> list[Rule]:
    """The rules of a chain of family inet."""
    body = wire.string(_RULE_TABLE, table) + wire.string(_RULE_CHAIN, chain)
    asked = Message(_GETRULE, 0, _head(INET) + body, f"list chain {chain} of table {table}")
    return [_read_rule(entry) for entry in channel.dump(asked)]


def from_address(address: str) -> list[bytes]:
    """Matches packets from this address (no prefix)."""
    family, packed, _prefix = encode(address)
    source, _destination = _OFFSETS[socket.AddressFamily(family)]
    return [*_of_family(family), _load(source, len(packed)), _compare(_EQUAL, packed)]


def to_network(network: str, *, inside: bool) -> list[bytes]:
    """Matches packets to (*inside*) or beyond this network; expects the family to be matched."""
    family, packed, prefix = encode(network)
    _source, destination = _OFFSETS[socket.AddressFamily(family)]
    operator = _EQUAL if inside else _NOT_EQUAL
    if prefix % 8 == 0:
        size = prefix // 8
        return [_load(destination, size), _compare(operator, packed[:size])]
    size = len(packed)
    mask = ((1 << prefix) - 1) << (size * 8 - prefix)
    return [
        _load(destination, size),
        _mask(mask.to_bytes(size, "big")),
        _compare(operator, packed),
    ]


def of_family(network: str) -> list[bytes]:
    """Matches packets of the network's family."""
    return _of_family(encode(network)[0])


def masquerade() -> bytes:
    """Sets the packet's source address to that of its outgoing link."""
    return _expression("masq")


def goto(chain: str) -> bytes:
    """Continues in another chain, without returning."""
    return _verdict(_GOTO, wire.string(2, chain))


def leave() -> bytes:
    """Ends the chain."""
    return _verdict(_RETURN)


def _read_rule(body: bytes) -> Rule:
    found = dict(wire.attributes(body, 4))
    userdata = found.get(_RULE_USERDATA, b"")
    comment = ""
    while len(userdata) >= 2:
        kind, size = userdata[0], userdata[1]
        if kind == 0:
            comment = wire.read_string(userdata[2 : 2 + size])
        userdata = userdata[2 + size :]
    return Rule(int.from_bytes(found[_RULE_HANDLE], "big"), comment)


def _change(kind: int, body: bytes, words: str, flags: int = 0) -> Message:
    return Message(kind, wire.NLM_F_CREATE | flags, _head(INET) + body, words)


def _head(family: int, resource: int = 0) -> bytes:
    return bytes([family, 0]) + resource.to_bytes(2, "big")


def _comment(kind: int, text: str) -> bytes:
    raw = text.encode() + b"\0"
    return wire.attribute(kind, bytes([0, len(raw)]) + raw)


def _nested(kind: int, *attributes: bytes) -> bytes:
    return wire.nested(kind | wire.NLA_F_NESTED, *attributes)


def _expression(name: str, *attributes: bytes) -> bytes:
    return _nested(
        _LIST_ELEMENT,
        wire.string(_EXPRESSION_NAME, name),
        _nested(_EXPRESSION_DATA, *attributes),
    )


def _of_family(family: int) -> list[bytes]:
    meta = _expression("meta", wire.be32(2, _META_NFPROTO), wire.be32(1, _REGISTER_1))
    return [meta, _compare(_EQUAL, bytes([family]))]


def _load(offset: int, size: int) -> bytes:
    return _expression(
        "payload",
        wire.be32(1, _REGISTER_1),
        wire.be32(2, _NETWORK_HEADER),
        wire.be32(3, offset),
        wire.be32(4, size),
    )


def _compare(operator: int, value: bytes) -> bytes:
    data = _nested(3, wire.attribute(1, value))
    return _expression("cmp", wire.be32(1, _REGISTER_1), wire.be32(2, operator), data)


def _mask(mask: bytes) -> bytes:
    return _expression(
        "bitwise",
        wire.be32(1, _REGISTER_1),
        wire.be32(2, _REGISTER_1),
        wire.be32(3, len(mask)),
        _nested(4, wire.attribute(1, mask)),
        _nested(5, wire.attribute(1, bytes(len(mask)))),
    )


def _verdict(code: int, *chain: bytes) -> bytes:
    verdict = _nested(2, wire.be32(1, code), *chain)
    return _expression("immediate", wire.be32(1, _REGISTER_VERDICT), _nested(2, verdict))
