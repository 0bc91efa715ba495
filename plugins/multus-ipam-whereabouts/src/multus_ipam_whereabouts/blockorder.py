"""The blocks of a range, and addresses on offer, in the order in which a node tries them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from multus.ipam.addresses import Address, Network

if TYPE_CHECKING:
    from multus.api.kubernetes import ObjectRef
    from multus_ipam_whereabouts.ranges import Range

#: The most pieces of a block that are named; one takes up to 40 bytes.
_MOST_SPANS = 100
#: Of how many of a block's addresses on offer chance chooses.
_SOME = 64


def blocks_of(within: Range, node: str) -> Iterator[Network]:
    """All blocks that have an address to allocate, each once.

    Where a node begins is a hash of its name: nodes that start at the same moment do not all want
    the same block.
    """
    # Only who takes a block needs it.
    from hashlib import sha256

    places = _places(within)
    count = sum(last - first + 1 for first, last in places)
    if not count:
        return
    begin = int.from_bytes(sha256(f"{node} {within.network}".encode()).digest()[:16], "big") % count
    for index in chain(range(begin, count), range(begin)):
        yield _block(within, _at(places, index))


def offers(
    every: Iterable[Mapping[str, Any]], key: tuple[str, str, str], within: Range
) -> Iterator[tuple[ObjectRef, Address]]:
    """The addresses of *within* that may be borrowed, with their blocks, in a random order.

    *every* are blocks' objects; *key* is the range's, see `blocks.range_of`.
    """
    # Only who borrows needs them.
    import random

    from multus_ipam_whereabouts.blocks import range_of, ref_of

    found = [each for each in every if range_of(each) == key]
    random.shuffle(found)
    for each in found:
        ref = ref_of(each)
        # Nodes that look at the same moment do not all want the same one.
        some = list(islice(_offered(each, within), _SOME))
        random.shuffle(some)
        yield from ((ref, address) for address in some)


def _offered(wire: Mapping[str, Any], within: Range) -> Iterator[Address]:
    """The addresses of one block that may be borrowed."""
    from multus_ipam_whereabouts.blocks import Offer

    offer = Offer(wire)
    if offer.is_listed:
        return (each for each in offer.listed() if each in within)
    every = addresses_of(within, offer.network, None) if offer.network else ()
    return (each for each in every if each in offer)


def _places(within: Range) -> list[tuple[int, int]]:
    """The numbers of the blocks, as spans, both ends included."""
    hosts = within.network.address.bits - within.block
    found: list[tuple[int, int]] = []
    for first, last in within.spans:
        begin, end = first >> hosts, last >> hosts
        if found and begin <= found[-1][1]:
            begin = found[-1][1] + 1  # its first block has addresses of two spans
        if begin <= end:
            found.append((begin, end))
    return found


def _at(places: list[tuple[int, int]], index: int) -> int:
    for first, last in places:
        if index <= last - first:
            return first + index
        index -= last - first + 1
    raise IndexError(index)


def _block(within: Range, number: int) -> Network:
    hosts = within.network.address.bits - within.block
    return Network(within.network.first + (number << hosts), within.block)


def usable_of(within: Range, block: Network) -> str:
    """The addresses of *block* that may be allocated, as ``1-14,20``: distances from its first.

    Of a block that excludes cut into many pieces, only the first ones are named.
    """
    begin = block.first.value - within.network.first.value
    spans = islice(_spans(within, block), _MOST_SPANS)
    return ",".join(f"{a - begin}-{b - begin}" if a < b else f"{a - begin}" for a, b in spans)


def usable_addresses(block: Network, text: str) -> Iterator[Address]:
    """The addresses of *block* that *text* names, as `usable_of` writes it."""
    for each in text.split(",") if text else ():
        first, _, last = each.partition("-")
        yield from (block.first + at for at in range(int(first), int(last or first) + 1))


def addresses_of(within: Range, block: Network, last: Address | None) -> Iterator[Address]:
    """The addresses of *block* that may be allocated, the one after *last* first."""
    base = within.network.first.value
    begin, end = block.first.value - base, block.last.value - base
    spans = list(_spans(within, block))
    after = begin if last is None or last not in block else last.value - base + 1
    for low, high in ((after, end), (begin, after - 1)):
        for first, until in spans:
            for distance in range(max(first, low), min(until, high) + 1):
                yield within.network.first + distance


def _spans(within: Range, block: Network) -> Iterator[tuple[int, int]]:
    """The range's spans in *block*, as distances from the range's first address."""
    base = within.network.first.value
    begin, end = block.first.value - base, block.last.value - base
    for first, last in within.spans:
        if first <= end and begin <= last:
            yield max(first, begin), min(last, end)
