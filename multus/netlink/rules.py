"""Messages about policy rules: which routing table the kernel looks up for a packet.

Source: linux/fib_rules.h, net/core/fib_rules.c; ip-rule(8).
"""

from __future__ import annotations

import errno
import struct

from attrs import frozen

from multus.netlink import wire
from multus.netlink._channel import Channel
from multus.netlink._socket import socket
from multus.netlink.addresses import encode
from multus.netlink.wire import Message

_RTM_NEWRULE, _RTM_DELRULE, _RTM_GETRULE = 32, 33, 34
_FRA_SRC, _FRA_PRIORITY, _FRA_TABLE = 2, 6, 15
_TO_TABLE = 1

_RULE = struct.Struct("=BBBBBBBBI")


@frozen
class Rule:
    """A rule as the kernel lists it: ``source`` is an address with prefix length, "" for any.

    The kernel tries rules by ``priority``, the smallest first.
    """

    family: int
    source: str
    table: int
    priority: int


def add(source: str, table: int) -> Message:
    """Look up packets from this address (or network) in a table, before all existing rules but
    the first.

    The kernel gives the rule the priority.
    """
    words = f"add the rule that packets from {source} use table {table}"
    flags = wire.NLM_F_CREATE | wire.NLM_F_EXCL
    return Message(_RTM_NEWRULE, flags, _body(source, table, _TO_TABLE), words)


def delete(rule: Rule, *, missing_ok: bool = False) -> Message:
    """Delete a rule that has a source."""
    words = f"delete the rule that packets from {rule.source} use table {rule.table}"
    body = _body(rule.source, rule.table, 0) + wire.u32(_FRA_PRIORITY, rule.priority)
    return Message(_RTM_DELRULE, 0, body, words, (errno.ENOENT,) if missing_ok else ())


def list_all(channel: Channel) -> list[Rule]:
    """The rules of IPv4 and IPv6, each by priority."""
    found: list[Rule] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        body = _RULE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        found += map(read, channel.dump(Message(_RTM_GETRULE, 0, body, "list rules")))
    return found


def read(body: bytes) -> Rule:
    """The rule in one entry of a dump or in a notification."""
    family, _, prefix, _, small_table, _, _, _, _ = _RULE.unpack_from(body)
    found = dict(wire.attributes(body, _RULE.size))
    source, priority, table = map(found.get, (_FRA_SRC, _FRA_PRIORITY, _FRA_TABLE))
    return Rule(
        family=family,
        source="" if source is None else f"{socket.inet_ntop(family, source)}/{prefix}",
        table=small_table if table is None else wire.read_u32(table),
        priority=0 if priority is None else wire.read_u32(priority),
    )


def _body(source: str, table: int, action: int) -> bytes:
    family, packed, prefix = encode(source)
    head = _RULE.pack(family, 0, prefix, 0, 0, 0, 0, action, 0)
    number = wire.u32(_FRA_TABLE, table, f"the table of the rule for {source}")
    return head + wire.attribute(_FRA_SRC, packed) + number
