"""Ranges: which addresses of a network may be allocated, as distances from its first address.

Source: whereabouts 0.9: the network's own address and its last one are never allocated, also for
IPv6; a start or end outside of the network is ignored; ``first-last/length`` names both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from multus.api.errors import InvalidConfig
from multus.api.reader import Reader
from multus.ipam.addresses import Address, Network

if TYPE_CHECKING:
    from multus.api.where import Path

#: Zeros before a number of an IPv4 address: the binary reads them as decimal.
_ZEROS = re.compile(r"(?<![0-9a-fA-F:])0+(?=[0-9])")
#: The most ranges of one interface, and excludes of one range.
MOST_RANGES, MOST_EXCLUDES = 64, 256


@frozen
class Range:
    """A range: ``network`` is its pool's, ``prefix`` the length that its addresses get.

    ``spans`` are what may be allocated, as distances from the network's address, both included.
    ``node`` is whose part of a larger range it is; "" for a whole one.
    ``block`` is the prefix length of the blocks that nodes take of it; 0 without blocks.
    """

    network: Network
    prefix: int
    spans: tuple[tuple[int, int], ...]
    node: str = ""
    block: int = 0

    @classmethod
    def read(cls, reader: Reader, root: Reader, at: Path) -> Range:
        """Read the keys ``range``, ``range_start``, ``range_end``, ``exclude`` and ``block``.

        *at* is the path to them from *root*, which names errors.  Raises ``InvalidConfig``.
        """
        text = reader.text("range")
        begin, dash, rest = text.partition("-")
        written = network_of(rest if dash else text)
        if written is None:
            raise root.error(
                (*at, "range"), f"is {text!r}, not a network in CIDR form", "10.1.0.0/16"
            )
        network = Network(written.first, written.prefix)
        start, end = address_of(reader.text("range_start")), address_of(reader.text("range_end"))
        if dash:
            start, end = address_of(begin), written.address
            if start is None or start not in network:
                raise root.error((*at, "range"), f"is {text!r}, whose start is not in {network}")
        if network.host_mask < 3:
            raise root.error(
                (*at, "range"),
                f"is {text!r}, which has no address beside its first and last one",
                "use a larger range",
            )
        first, last = _limits(network, start, end)
        excluded = reader.texts("exclude")
        if len(excluded) > MOST_EXCLUDES:
            raise root.error(
                (*at, "exclude"),
                f"has {len(excluded)} entries, at most {MOST_EXCLUDES} are allowed",
            )
        spans = tuple(_spans(network, first, last, excluded, root, (*at, "exclude")))
        if not spans:
            raise root.error(
                (*at, "exclude"),
                f"leaves no address of range {network}, {first} to {last}",
                "exclude less",
            )
        return cls(network, network.prefix, spans, block=_block(reader, network, root, at))

    def part(self, network: Network, node: str) -> Range:
        """What *node* may allocate: of *network*, but for its own address and its last one."""
        offset, last = network.first.value - self.network.first.value, network.host_mask - 1
        shifted = ((max(a - offset, 1), min(b - offset, last)) for a, b in self.spans)
        return Range(network, self.prefix, tuple((a, b) for a, b in shifted if a <= b), node)

    def without(self, address: Address) -> Range:
        """The same range, of which *address* is not allocated."""
        if address not in self:
            return self
        at = address.value - self.network.first.value
        below = [(a, min(b, at - 1)) for a, b in self.spans if a < at]
        above = [(max(a, at + 1), b) for a, b in self.spans if b > at]
        return evolve(self, spans=(*below, *above))

    def __contains__(self, address: Address) -> bool:
        """Whether the address may be allocated."""
        distance = address.value - self.network.first.value
        return address in self.network and any(a <= distance <= b for a, b in self.spans)

    def overlaps(self, other: Range) -> bool:
        """Whether both have an address in common, or share a pool."""
        return other.network.first in self.network or self.network.first in other.network


def network_of(text: str) -> Network | None:
    """A network in CIDR form; IPv4 numbers may begin with zeros."""
    return Network.parse(_decimal(text.strip()))


def address_of(text: str) -> Address | None:
    """An address; None when it is none."""
    return Address.parse(_decimal(text.strip()))


def require_apart(ranges: Sequence[Range], root: Reader) -> None:
    """Raise ``InvalidConfig`` when two ranges overlap: the pod would get one address twice."""
    for index, each in enumerate(ranges):
        other = next((one for one in ranges[:index] if one.overlaps(each)), None)
        if other is not None:
            raise InvalidConfig(
                f"range {each.network} overlaps with range {other.network}: an interface gets an"
                " address from each range, and this would be the same one",
                where=root.where,
                fix="keep the ranges apart, or name one of them",
            )


def _decimal(text: str) -> str:
    return text if ":" in text else _ZEROS.sub("", text)


def _limits(
    network: Network, start: Address | None, end: Address | None
) -> tuple[Address, Address]:
    first, last = network.first + 1, network.last + -1

    def between(address: Address | None) -> bool:
        return address is not None and address in network and first <= address <= last

    first = start if start is not None and between(start) else first
    last = end if end is not None and between(end) else last
    return first, last


def _block(reader: Reader, network: Network, root: Reader, at: Path) -> int:
    if reader.raw.get("block") is None:
        return 0
    length, longest = reader.integer("block"), network.address.bits
    if not network.prefix < length <= longest:
        raise root.error(
            (*at, "block"),
            f"is {length}, and a block of range {network} has a prefix length of"
            f" {network.prefix + 1} to {longest}",
            "28 for 16 addresses" if longest == 32 else "120 for 256 addresses",
        )
    return length


def _spans(
    network: Network,
    first: Address,
    last: Address,
    excluded: Sequence[str],
    root: Reader,
    at: Path,
) -> Iterator[tuple[int, int]]:
    base = network.first.value
    if not excluded:
        yield first.value - base, last.value - base
        return
    # It takes longer to import than an ADD without excludes takes.
    import netaddr

    without = []
    for index, text in enumerate(excluded):
        written, alone = network_of(text), address_of(text)
        if written is None and alone is None:
            raise root.error((*at, index), f"is {text!r}, neither a network nor an address")
        without.append(str(written or alone))
    # One subtraction: of each alone, 256 of them would take seconds.
    left = netaddr.IPSet(netaddr.IPRange(str(first), str(last))) - netaddr.IPSet(without)
    for span in left.iter_ipranges():
        yield int(span.first) - base, int(span.last) - base


def readers(ipam: Mapping[str, Any], root: Reader) -> Iterator[tuple[Reader, Path]]:
    """Each range of an ``ipam`` object, the keys at its top first; with the path to it."""
    if ipam.get("range"):
        yield Reader(ipam, root.where), ()
    listed = Reader(ipam, root.where).mappings("ipRanges")
    if len(listed) > MOST_RANGES:
        raise root.error(
            "ipRanges", f"has {len(listed)} entries, at most {MOST_RANGES} are allowed"
        )
    for index, each in enumerate(listed):
        yield Reader(each, root.where), ("ipRanges", index)
