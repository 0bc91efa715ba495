"""host-local's ranges: which addresses may be assigned, in which order.

Source: the reference host-local plugin, ``plugins/ipam/host-local/README.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from attrs import frozen

from multus.api.errors import InvalidConfig
from multus.api.reader import Reader, describe
from multus.ipam.addresses import Address, Network


@frozen
class Range:
    """A span of one subnet, both ends included; the gateway is never assigned."""

    subnet: Network
    start: Address
    end: Address
    gateway: Address

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any], where: str) -> Range:
        """Read ``{subnet, rangeStart, rangeEnd, gateway}``; *where* names the range in errors.

        The default gateway is the subnet's first address.  The default bounds are the first and
        the last usable address; IPv4's broadcast address is not usable.
        """
        reader = Reader(raw, where)
        subnet = _subnet(reader)
        default_end = subnet.last + (-1 if subnet.address.family == 4 else 0)
        start = _address(reader, "rangeStart") or subnet.address + 1
        end = _address(reader, "rangeEnd") or default_end
        for key, bound in (("rangeStart", start), ("rangeEnd", end)):
            if bound not in subnet:
                raise InvalidConfig(
                    f"{key} {bound} not in network {subnet}",
                    where=where,
                    fix="use an address of the subnet",
                )
        if not start <= end:
            raise InvalidConfig(
                f"rangeStart {start} is after rangeEnd {end}",
                where=where,
                fix="exchange the two",
            )
        return cls(subnet, start, end, _address(reader, "gateway") or subnet.address + 1)

    def __contains__(self, address: Address) -> bool:
        return self.start <= address <= self.end

    @property
    def size(self) -> int:
        """How many addresses it can assign."""
        held_back = 1 if self.gateway in self else 0
        return self.end.value - self.start.value + 1 - held_back

    def __str__(self) -> str:
        return f"{self.start}-{self.end}"


def overlapping(ranges: Sequence[Range]) -> tuple[int, int] | None:
    """The indexes of two ranges that share an address, the smaller first; None when no two do.

    The ranges are sorted by their start.  A range overlaps an earlier one only if it starts before
    the largest end so far.
    """
    order = sorted(
        range(len(ranges)), key=lambda i: (ranges[i].start.family, ranges[i].start.value, i)
    )
    farthest = None
    for index in order:
        if farthest is not None and ranges[index].start <= ranges[farthest].end:
            return min(index, farthest), max(index, farthest)
        if farthest is None or ranges[farthest].end <= ranges[index].end:
            farthest = index
    return None


class Spans:
    """Several spans of addresses; a look-up is a bisection."""

    def __init__(self, spans: Iterable[tuple[Address, Address]]) -> None:
        self._firsts: list[tuple[int, int]] = []
        self._lasts: list[tuple[int, int]] = []
        for first, last in sorted(((f.family, f.value), (t.family, t.value)) for f, t in spans):
            if self._lasts and first <= self._lasts[-1]:
                self._lasts[-1] = max(self._lasts[-1], last)
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def holds(self, text: str) -> bool:
        """Whether *text* is an address in one of the spans."""
        # Imported here: most standalone calls do not need it.
        from bisect import bisect_right

        address = Address.parse(text)
        if address is None:
            return False
        key = (address.family, address.value)
        at = bisect_right(self._firsts, key) - 1
        return at >= 0 and key <= self._lasts[at]


class RangeSet(NamedTuple):
    """Ranges of one family; a container gets one address from every set."""

    ranges: tuple[Range, ...]

    @classmethod
    def from_wire(cls, raw: object, where: str) -> RangeSet:
        """Read a list of ranges."""
        if not isinstance(raw, list) or not raw:
            raise InvalidConfig(
                "empty range set",
                where=where,
                fix="give it a list of ranges",
            )
        for index, each in enumerate(raw):
            if not isinstance(each, dict):
                raise InvalidConfig(
                    f"range {index} must be an object, not {describe(each)}",
                    where=where,
                    fix="correct it",
                )
        ranges = tuple(Range.from_wire(each, where) for each in raw)
        if len({each.start.family for each in ranges}) > 1:
            raise InvalidConfig(
                "mixed address families",
                where=where,
                fix="use a set for each family",
            )
        both = overlapping(ranges)
        if both is not None:
            raise InvalidConfig(
                f"subnets {ranges[both[0]]} and {ranges[both[1]]} overlap",
                where=where,
                fix="remove one of them",
            )
        return cls(ranges)

    @property
    def family(self) -> int:
        """4 or 6."""
        return self.ranges[0].start.family

    @property
    def size(self) -> int:
        """How many addresses it can assign."""
        return sum(each.size for each in self.ranges)

    @property
    def spans(self) -> Spans:
        """Its addresses, for many look-ups."""
        return Spans((each.start, each.end) for each in self.ranges)

    def range_of(self, address: Address) -> Range | None:
        """The range that *address* belongs to."""
        return next((each for each in self.ranges if address in each), None)

    def candidates(self, last: Address | None) -> Iterator[tuple[Address, Range]]:
        """Every address that may be assigned, once, the one after *last* first.

        This round robin gives a restarted container another address, so stale neighbour entries of
        other hosts do not point at it.
        """
        at = next((i for i, r in enumerate(self.ranges) if last is not None and last in r), None)
        spans: list[tuple[Range, int, int]] = [(r, r.start.value, r.end.value) for r in self.ranges]
        if at is not None and last is not None:
            here = self.ranges[at]
            after = (here, last.value + 1, here.end.value)
            spans = [after, *spans[at + 1 :], *spans[:at], (here, here.start.value, last.value)]
        for within, low, high in spans:
            for value in range(low, high + 1):
                address = Address(within.start.family, value)
                if address != within.gateway:
                    yield address, within

    def __str__(self) -> str:
        return ",".join(str(each) for each in self.ranges)


def _subnet(reader: Reader) -> Network:
    text = reader.text("subnet")
    if not text:
        raise InvalidConfig(
            "a range has no 'subnet'",
            where=reader.where,
            fix="add it, such as 10.1.0.0/16",
        )
    subnet = Network.parse(text)
    if subnet is None or (":" in text and subnet.address.family == 4):
        raise reader.error(
            "subnet",
            f"is {text!r}, not a network in CIDR form",
            "write it as 10.1.0.0/16 or fd00:1::/64",
        )
    if subnet.prefix > subnet.address.bits - 2:
        raise InvalidConfig(
            f"network {subnet} too small to allocate from",
            where=reader.where,
            path="subnet",
            fix="use one of at least four addresses",
        )
    if subnet.address != subnet.first:
        raise InvalidConfig(
            f"network {subnet} has host bits set: the network address is {subnet.first}",
            where=reader.where,
            path="subnet",
            fix=f"write {subnet.first}/{subnet.prefix}",
        )
    return subnet


def _address(reader: Reader, key: str) -> Address | None:
    text = reader.text(key)
    if not text:
        return None
    address = Address.parse(text)
    if address is None:
        raise reader.error(key, f"is {text!r}, not an IP address", "correct it")
    return address
