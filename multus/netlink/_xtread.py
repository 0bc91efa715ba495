"""Commands of iptables, as its nf_tables variant stores them::

    command = _xtread.read(4, "-A OUTPUT -d 10.1.2.3/32 -j ACCEPT")   # None: left to iptables

A program of this variant stores some options as expressions of nf_tables, and the others as the
data of iptables' own matches and targets (*extensions*), which the kernel calls with them.  Here
are the options that rules of this project have.  What is stored differs between releases of
iptables: `multus.netlink._proof` finds out whether this machine's does the same.

Source: linux/netfilter/nf_tables_compat.h, linux/netfilter/xt_*.h, linux/netfilter/nf_nat.h; what
iptables 1.8.9 and 1.8.11 leave in the kernel (``FORMS``).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from multus.api.errors import InvalidConfig
from multus.netlink import nftexpressions as nft
from multus.netlink._socket import socket
from multus.netlink.addresses import encode

#: Forms of a rule, by the release that stores it so.  The later one has ``-p`` behind the
#: addresses, for IPv4 as a field of the header.
FORMS = ("1.8.9", "1.8.11")

_WORD = re.compile(r'"((?:\\.|[^"\\])*)"|([^\s"\\]+)')
_DESTINATION = re.compile(r"\[?(?P<address>[0-9a-fA-F.:]+?)\]?:(?P<port>\d+)")
_CHANGES = ("-A", "-I", "-C")
_FAMILIES: dict[int, int] = {4: socket.AF_INET, 6: socket.AF_INET6}
_PROTOCOLS = {"tcp": 6, "udp": 17}
_LONGEST_CHAIN = 28
_COMMENT_SIZE = 256
_EVERY_BIT = 0xFFFFFFFF  # a mask that is not stored
_PORTS_A_RULE = 15
_ROUTE_LOCAL = 2
_BY_DESTINATION = 1
_ADDRESS_AND_PORT = 3

# Structures of the extensions; the machine's byte order, but for a translated port.
_MARK = struct.Struct("=II")
_ADDRTYPE = struct.Struct("=HHI")
_MULTIPORT = struct.Struct("=BB15H15sB")
_MASQUERADE = {4: struct.pack("=I20x", 1), 6: bytes(40)}
_TRANSLATED = struct.Struct("=I16s16s2s2s8x")


class Command(NamedTuple):
    """One command: its *option* (-N, -A, -I or -C) and its chain; the others are its rule's.

    *protocol* is the number of the transport protocol, or 0.  *target* is the chain that the rule
    jumps to, or "".  *kinds* are the options in it, whose form may differ between releases.
    """

    option: str
    chain: str
    expressions: tuple[bytes, ...] = ()
    protocol: int = 0
    target: str = ""
    kinds: frozenset[str] = frozenset()


class _Unknown(Exception):
    """Something that only iptables understands."""


def read(version: int, text: str, form: str = FORMS[0]) -> Command | None:
    """The command, for IPv4 or IPv6 (*version* 4 or 6); None when only iptables understands it.

    *text* is one line of ``iptables-restore``, *form* one of ``FORMS``.
    """
    try:
        option, chain, *words = _split(text)
        if option == "-N" and not words:
            return Command(option, _chain(chain))
        if option not in _CHANGES:
            return None
        return _Rule(version, words, form).command(option, _chain(chain))
    except (_Unknown, InvalidConfig, LookupError, StopIteration, ValueError):
        return None


class _Rule:
    """What a rule's options are stored as."""

    def __init__(self, version: int, words: Sequence[str], form: str) -> None:
        self._version = version
        self._form = form
        self._protocol = 0
        self._ends: dict[str, list[bytes]] = {}
        self._matches: list[bytes] = []
        self._target: list[bytes] = []
        self._chain = ""
        self._kinds: set[str] = set()
        self._words = iter(words)
        for word in self._words:
            if word == "!":
                self._address(next(self._words), inside=False)
            elif word == "-p":
                self._set_protocol(next(self._words))
            elif word == "-m":
                self._match(next(self._words))
            elif word == "-j":
                self._act(next(self._words))
            else:
                self._address(word)

    def command(self, option: str, chain: str) -> Command:
        """The rule in its chain; the order of its options is that of iptables."""
        if not self._target:
            raise _Unknown
        ends = [each for end in ("-s", "-d") for each in self._ends.get(end, ())]
        whole = (*self._header(ends), *self._matches, nft.counter(), *self._target)
        return Command(option, chain, whole, self._protocol, self._chain, frozenset(self._kinds))

    def _header(self, ends: Sequence[bytes]) -> Sequence[bytes]:
        if not self._protocol:
            return ends
        if self._form == FORMS[0]:
            return *nft.protocol_of(self._protocol), *ends
        by_field = nft.header_protocol if self._version == 4 else nft.protocol_of
        return *ends, *by_field(self._protocol)

    def _address(self, option: str, *, inside: bool = True) -> None:
        end = {"-s": "source", "-d": "destination"}[option]
        network = next(self._words)
        family, _packed, prefix = encode(network)
        if option in self._ends or family != _FAMILIES[self._version] or not prefix:
            raise _Unknown
        self._ends[option] = nft.address(end, network, inside=inside)
        self._kinds.add(option)

    def _set_protocol(self, name: str) -> None:
        if self._protocol:
            raise _Unknown
        self._protocol = _PROTOCOLS[name]
        self._kinds.add("-p")

    def _match(self, name: str) -> None:
        option = next(self._words)
        if name in _PROTOCOLS and _PROTOCOLS[name] != self._protocol:
            raise _Unknown
        self._matches += _MATCHES[name, option](self, next(self._words))
        self._kinds.add(name)

    def _port(self, value: str) -> list[bytes]:
        return nft.destination_port(self._number(value))

    def _number(self, value: str) -> int:
        if not (self._protocol and value.isascii() and value.isdigit() and int(value) < 1 << 16):
            raise _Unknown
        return int(value)

    def _multiport(self, value: str) -> list[bytes]:
        ports = [self._number(each) for each in value.split(",")]
        if len(ports) > _PORTS_A_RULE:
            raise _Unknown
        filled = ports + [0] * (_PORTS_A_RULE - len(ports))
        data = _MULTIPORT.pack(_BY_DESTINATION, len(ports), *filled, b"", 0)
        return [nft.extension("match", "multiport", 1, data)]

    def _act(self, name: str) -> None:
        if self._target:
            raise _Unknown
        if name == "ACCEPT":
            self._target = [nft.accept()]
        elif name == "MASQUERADE":
            self._target = [nft.extension("target", name, 0, _MASQUERADE[self._version])]
        elif name == "MARK":
            self._require("--set-xmark")
            data = _MARK.pack(*_marked(next(self._words)))
            self._target = [nft.extension("target", name, 2, data)]
        elif name == "DNAT":
            self._require("--to-destination")
            self._target = [nft.extension("target", name, 2, self._translated(next(self._words)))]
        elif "-" in name:  # as in no name of an extension
            self._chain, name = _chain(name), "-j"
            self._target = [nft.jump(self._chain)]
        else:
            raise _Unknown
        self._kinds.add(name)

    def _translated(self, value: str) -> bytes:
        found = _DESTINATION.fullmatch(value)
        if found is None:
            raise _Unknown
        family, packed, _prefix = encode(found["address"])
        if family != _FAMILIES[self._version]:
            raise _Unknown
        port = self._number(found["port"]).to_bytes(2, "big")
        return _TRANSLATED.pack(_ADDRESS_AND_PORT, packed, packed, port, port)

    def _require(self, option: str) -> None:
        if next(self._words) != option:
            raise _Unknown


def _comment(_rule: _Rule, value: str) -> list[bytes]:
    raw = value.encode()
    if len(raw) >= _COMMENT_SIZE:
        raise _Unknown
    return [nft.extension("match", "comment", 0, raw.ljust(_COMMENT_SIZE, b"\0"))]


def _local(_rule: _Rule, value: str) -> list[bytes]:
    if value != "LOCAL":
        raise _Unknown
    return [nft.extension("match", "addrtype", 1, _ADDRTYPE.pack(0, 1 << _ROUTE_LOCAL, 0))]


def _mark(_rule: _Rule, value: str) -> list[bytes]:
    return nft.mark(*_marked(value))


_MATCHES: dict[tuple[str, str], Callable[[_Rule, str], list[bytes]]] = {
    ("comment", "--comment"): _comment,
    ("addrtype", "--dst-type"): _local,
    ("mark", "--mark"): _mark,
    ("tcp", "--dport"): _Rule._port,
    ("udp", "--dport"): _Rule._port,
    ("multiport", "--dports"): _Rule._multiport,
}


def _marked(value: str) -> tuple[int, int]:
    """A mark and its mask, as ``0x2000/0x2000``."""
    mark, _, mask = value.partition("/")
    if not (mark.startswith("0x") and mask.startswith("0x")) or int(mask, 16) == _EVERY_BIT:
        raise _Unknown
    return int(mark, 16), int(mask, 16)


def _chain(name: str) -> str:
    if len(name) > _LONGEST_CHAIN or name.startswith(("-", "!")):
        raise _Unknown
    return name


def _split(text: str) -> list[str]:
    """The words of a line; a word in quotes has its escapes resolved."""
    return list(_words(text))


def _words(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        found = _WORD.match(text, start)
        if found is None or text[found.end() : found.end() + 1] not in ("", " "):
            raise _Unknown
        quoted, plain = found.groups()
        yield plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        start = found.end() + 1
