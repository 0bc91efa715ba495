"""Which blocks a node tries, in which order, and which addresses a block has."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from multus_ipam_whereabouts.blockorder import addresses_of, blocks_of
from multus_ipam_whereabouts.ranges import Range

from multus.api.reader import Reader
from multus.ipam.addresses import Address, Network


def range_of(**keys: Any) -> Range:
    reader = Reader(keys, "the range")
    return Range.read(reader, reader, ())


@pytest.mark.parametrize(
    ("keys", "count"),
    [
        ({"range": "10.0.0.0/16", "block": 28}, 4096),
        ({"range": "10.0.0.0/24", "block": 32}, 254),
        ({"range": "10.0.0.40-10.0.0.50/24", "block": 28}, 2),
        ({"range": "10.0.0.0/24", "block": 26, "exclude": ["10.0.0.10", "10.0.0.64/26"]}, 3),
    ],
)
def test_each_block_with_an_address_comes_once(keys: dict[str, Any], count: int) -> None:
    within = range_of(**keys)
    found = list(blocks_of(within, "n1"))
    assert len(found) == len(set(found)) == count
    held = [each for block in found for each in addresses_of(within, block, None)]
    assert len(held) == len(set(held)) == sum(last - first + 1 for first, last in within.spans)
    assert all(each in within for each in held)


def test_nodes_begin_at_different_places_and_go_on_from_there() -> None:
    within = range_of(range="10.0.0.0/16", block=28)
    first = {next(blocks_of(within, f"worker-{number}")) for number in range(64)}
    assert len(first) > 60
    one, other = islice(blocks_of(within, "worker-0"), 2)
    assert other.first.value - one.first.value in (16, 16 - (1 << 16))


def test_a_large_range_takes_no_longer() -> None:
    within = range_of(range="fd00::/32", block=64)
    (block,) = islice(blocks_of(within, "n1"), 1)
    (address,) = islice(addresses_of(within, block, None), 1)
    assert block.prefix == 64 and address in block


def test_the_address_after_the_last_one_comes_first() -> None:
    within = range_of(range="10.0.0.0/24", block=30)
    block, last = Network.parse("10.0.0.4/30"), Address.parse("10.0.0.5")
    assert block is not None
    found = [str(each) for each in addresses_of(within, block, last)]
    assert found == ["10.0.0.6", "10.0.0.7", "10.0.0.4", "10.0.0.5"]
