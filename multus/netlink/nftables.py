"""Tables, chains and rules of nf_tables, without a program::

    from multus.netlink import nftables
    from multus.netlink import nftexpressions as matching

    ours = nftables.Table(nftables.IPV4, "ours")
    with nftables.channel() as channel:
        nftables.commit(channel, [
            ours.add("what it is for"),
            ours.add_base_chain("prerouting", kind="filter", hook=nftables.PREROUTING),
            ours.add_rule("prerouting", [*matching.port("tcp", 80), matching.drop()], "a comment"),
        ])
        for rule in ours.list_rules(channel, "prerouting"):
            nftables.commit(channel, [ours.delete_rule("prerouting", rule.handle)])

`commit` applies its messages as one transaction: all of them, or none.  A message of it may name
what an earlier one adds.  Numbers are in network byte order, and nested attributes carry
``NLA_F_NESTED``.

Source: linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from multus.netlink import wire
from multus.netlink._channel import (
    NETLINK_NETFILTER,
    Channel,
    Refused,
    Transport,
    open_channel,
)
from multus.netlink._socket import socket
from multus.netlink.wire import Message

#: The families of a table.  A rule of INET sees IPv4 and IPv6.
INET, IPV4, BRIDGE, IPV6 = 1, 2, 7, 10

#: Hooks of the IP families, and of BRIDGE, which has the same numbers.
PREROUTING, INPUT, OUTPUT, POSTROUTING = 0, 1, 3, 4

#: Priorities of base chains: where destination and source addresses are translated.
DESTINATION_NAT, SOURCE_NAT = -100, 100

#: The kernel's errors when a table or chain is missing, or the family, or nf_tables itself.
ABSENT = (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL, errno.EAFNOSUPPORT)

_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEWTABLE, _NEWCHAIN, _GETCHAIN, _DELCHAIN, _NEWRULE, _GETRULE, _DELRULE, _GETGENERATION = (
    _SUBSYSTEM << 8 | number for number in (0, 3, 4, 5, 6, 7, 8, 16)
)

_TABLE_NAME, _TABLE_USERDATA = 1, 6
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY = 1, 3, 4, 5
_CHAIN_TYPE, _CHAIN_USERDATA = 7, 12
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS, _RULE_COMPAT = 1, 2, 3, 4, 5
_RULE_USERDATA = 7
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2
_IMMEDIATE_DATA, _DATA_VERDICT, _VERDICT_CHAIN = 2, 2, 2
_MATCH_NAME, _MATCH_INFO = 1, 3
_COMPARE_DATA = 3
_GENERATION = 1
_ACCEPT = 1

# nft prints no longer comment.
_LONGEST_COMMENT = 128


class _Place(NamedTuple):
    """A process, and the network namespace that has this file."""

    process: int
    device: int
    inode: int


class Rule(NamedTuple):
    """A rule in the kernel: its handle, and its expressions and its user data as bytes."""

    handle: int
    body: bytes
    userdata: bytes

    @property
    def comment(self) -> str:
        """The comment, of nft or of iptables; "" for none."""
        said = _read_comment(self.userdata)
        if said or wire.string(_MATCH_NAME, "comment") not in self.body:
            return said
        # The comment of iptables is a match.
        found = {each.get(_MATCH_NAME): each.get(_MATCH_INFO, b"") for each in self._all("match")}
        return wire.read_string(found.get(b"comment\0", b""))

    def jumps_to(self, chain: str) -> bool:
        """Whether it continues in this chain (jump or goto)."""
        return wire.string(_VERDICT_CHAIN, chain) in self.body

    def targets(self) -> list[str]:
        """The chains that it continues in (jump or goto)."""
        found = []
        for data in self._all("immediate"):
            verdict = wire.first(data.get(_IMMEDIATE_DATA, b""), 0, _DATA_VERDICT) or b""
            chain = wire.first(verdict, 0, _VERDICT_CHAIN)
            found += [] if chain is None else [wire.read_string(chain)]
        return found

    def compared(self) -> list[bytes]:
        """The values with which it compares parts of a packet, or of what is known of it."""
        return [wire.first(data.get(_COMPARE_DATA, b""), 0, 1) or b"" for data in self._all("cmp")]

    def _all(self, kind: str) -> list[dict[int, bytes]]:
        """The attributes of each expression of this kind."""
        name = wire.string(_EXPRESSION_NAME, kind)
        return [
            dict(wire.attributes(wire.first(each, 0, _EXPRESSION_DATA) or b"", 0))
            for _element, each in wire.attributes(self.body, 0)
            if each.startswith(name)
        ]


class Table(NamedTuple):
    """A table: its family (INET, IPV4, BRIDGE or IPV6) and its name."""

    family: int
    name: str

    def add(self, comment: str = "") -> Message:
        """Add the table; an existing one stays."""
        body = wire.string(_TABLE_NAME, self.name) + _comment(_TABLE_USERDATA, comment)
        return self._change(_NEWTABLE, body, f"add table {self.name}")

    def add_chain(self, chain: str, comment: str = "", *, new: bool = False) -> Message:
        """Add a chain that rules may jump to; an existing one stays, or *new*: is refused."""
        body = self._chain(chain) + _comment(_CHAIN_USERDATA, comment)
        flags = wire.NLM_F_EXCL if new else 0
        return self._change(_NEWCHAIN, body, f"add chain {chain} to table {self.name}", flags)

    def add_base_chain(self, chain: str, *, kind: str, hook: int, priority: int = 0) -> Message:
        """Add a chain that the kernel calls at *hook*, with policy accept; an existing one stays.

        *kind* is filter, nat or route.
        """
        called = wire.flagged(_CHAIN_HOOK, wire.be32(1, hook), wire.be32(2, priority))
        body = self._chain(chain) + called
        body += wire.string(_CHAIN_TYPE, kind) + wire.be32(_CHAIN_POLICY, _ACCEPT)
        return self._change(_NEWCHAIN, body, f"add chain {chain} to table {self.name}")

    def delete_chain(self, chain: str) -> Message:
        """Delete a chain, which must be there, without rules, and unused."""
        words = f"delete chain {chain} of table {self.name}"
        return Message(_DELCHAIN, 0, self._head + self._chain(chain), words)

    def get_chain(self, chain: str) -> Message:
        """Ask for a chain; the reply is None when the kernel has no such chain."""
        words = f"look up chain {chain} of table {self.name}"
        return Message(_GETCHAIN, 0, self._head + self._chain(chain), words, ABSENT)

    def add_rule(
        self,
        chain: str,
        expressions: Sequence[bytes],
        comment: str = "",
        *,
        first: bool = False,
        protocol: int = 0,
    ) -> Message:
        """Append a rule to the chain; *expressions* are those of `multus.netlink.nftexpressions`.

        Of a comment, the first 128 bytes are kept.  *first*: before all rules of the chain.
        Extensions of iptables may require the number of the transport *protocol* that the rule
        matches.
        """
        body = self._rules(chain) + wire.flagged(_RULE_EXPRESSIONS, *expressions)
        if protocol:
            body += wire.flagged(_RULE_COMPAT, wire.be32(1, protocol), wire.be32(2, 0))
        body += _comment(_RULE_USERDATA, comment)
        words = f"add a rule to chain {chain} of table {self.name}"
        return self._change(_NEWRULE, body, words, 0 if first else wire.NLM_F_APPEND)

    def delete_rule(self, chain: str, handle: int) -> Message:
        """Delete one rule."""
        body = self._rules(chain) + wire.attribute(_RULE_HANDLE, handle.to_bytes(8, "big"))
        words = f"delete rule {handle} of chain {chain}"
        return Message(_DELRULE, 0, self._head + body, words)

    def flush(self, chain: str) -> Message:
        """Delete all rules of a chain, which must be there."""
        words = f"flush chain {chain} of table {self.name}"
        return Message(_DELRULE, 0, self._head + self._rules(chain), words)

    def list_rules(self, channel: Channel, chain: str) -> list[Rule]:
        """The rules of a chain; none when there is no such chain."""
        words = f"list chain {chain} of table {self.name}"
        asked = Message(_GETRULE, 0, self._head + self._rules(chain), words)
        try:
            return [_read_rule(entry) for entry in channel.dump(asked)]
        except Refused as error:
            if error.errno in ABSENT:
                return []
            raise

    @property
    def _head(self) -> bytes:
        return _head(self.family)

    def _chain(self, chain: str) -> bytes:
        return wire.string(_CHAIN_TABLE, self.name) + wire.string(_CHAIN_NAME, chain)

    def _rules(self, chain: str) -> bytes:
        return wire.string(_RULE_TABLE, self.name) + wire.string(_RULE_CHAIN, chain)

    def _change(self, kind: int, body: bytes, words: str, flags: int = 0) -> Message:
        return Message(kind, wire.NLM_F_CREATE | flags, self._head + body, words)


# At most one, with the process and the namespace that it is of.
_kept: list[tuple[_Place, Channel]] = []


@contextmanager
def channel(transport: Callable[[socket.socket], Transport] = Transport) -> Iterator[Channel]:
    """A channel for netfilter in the calling thread's network namespace.

    The kernel lets the close of such a socket wait until deleted rules are freed, which takes
    milliseconds.  So the process keeps it for the next use in the same namespace.
    """
    if transport is not Transport:
        with open_channel(NETLINK_NETFILTER, transport) as opened:
            yield opened
        return
    there = os.stat("/proc/thread-self/ns/net")
    place = _Place(os.getpid(), there.st_dev, there.st_ino)
    used = _kept_of(place) or open_channel(NETLINK_NETFILTER)
    try:
        yield used
    except BaseException:
        used.close()  # answers may be unread
        raise
    _kept.append((place, used))
    while len(_kept) > 1:
        _kept.pop(0)[1].close()


def _kept_of(place: _Place) -> Channel | None:
    with suppress(IndexError):
        known, found = _kept.pop()
        if known == place:
            return found
        found.close()
    return None


def commit(channel: Channel, messages: Sequence[Message], generation: int = 0) -> None:
    """Apply these changes: all of them, or none.  Raises `multus.netlink.Refused`.

    With a *generation*, they are refused (``ERESTART``) when anything has changed since then.
    """
    if not messages:
        return
    since = wire.be32(_GENERATION, generation) if generation else b""
    first, last = (
        Message(kind, 0, _head(socket.AF_UNSPEC, _SUBSYSTEM) + more, "change the rules", (), False)
        for kind, more in ((_BATCH_BEGIN, since), (_BATCH_END, b""))
    )
    # The kernel answers every refused message; of the others, the last one's answer is enough.
    quiet = [message._replace(acknowledged=False) for message in messages[:-1]]
    channel.request([first, *quiet, messages[-1], last], whole=True)


def generation_of(channel: Channel) -> int:
    """The number of the namespace's rules as they are now; every change increments it."""
    asked = Message(
        _GETGENERATION, 0, _head(socket.AF_UNSPEC), "ask for the generation", replies=True
    )
    reply = channel.request([asked])[0] or b""
    return int.from_bytes(wire.first(reply, 4, _GENERATION) or b"", "big")


def has_hook(reply: bytes) -> bool:
    """Whether the chain of a reply to `Table.get_chain` is one that the kernel calls itself."""
    return wire.first(reply, 4, _CHAIN_HOOK) is not None


def hook_of(reply: bytes) -> tuple[str, int, int]:
    """The chain's type, hook and priority, of a reply to `Table.get_chain`; ("", -1, 0) if none."""
    found = dict(wire.attributes(reply, 4))
    if _CHAIN_HOOK not in found:
        return "", -1, 0
    called = dict(wire.attributes(found[_CHAIN_HOOK], 0))
    hook, priority = (int.from_bytes(called[each], "big", signed=True) for each in (1, 2))
    return wire.read_string(found.get(_CHAIN_TYPE, b"")), hook, priority


def comment_of(text: str) -> str:
    """The comment that a rule with this one has in the kernel, which is 128 bytes at most."""
    return text.encode()[:_LONGEST_COMMENT].decode(errors="ignore")


def _read_rule(body: bytes) -> Rule:
    found = dict(wire.attributes(body, 4))
    handle = int.from_bytes(found[_RULE_HANDLE], "big")
    return Rule(handle, found.get(_RULE_EXPRESSIONS, b""), found.get(_RULE_USERDATA, b""))


def _read_comment(userdata: bytes) -> str:
    while len(userdata) >= 2:
        kind, size = userdata[0], userdata[1]
        if kind == 0:
            return wire.read_string(userdata[2 : 2 + size])
        userdata = userdata[2 + size :]
    return ""


def _head(family: int, resource: int = 0) -> bytes:
    return bytes([family, 0]) + resource.to_bytes(2, "big")


def _comment(kind: int, text: str) -> bytes:
    if not text:
        return b""
    raw = comment_of(text).encode() + b"\0"
    return wire.attribute(kind, bytes([0, len(raw)]) + raw)
