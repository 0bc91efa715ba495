"""Pools that somebody else wrote: what is not an allocation is left alone, and fails no call."""

from __future__ import annotations

from typing import Any

import pytest
from multus_ipam_whereabouts import pool

from multus.api.errors import AddressesExhausted

GIVEN: dict[str, Any] = {
    "range": "10.7.0.0/24",
    "spans": [[1, 254]],
    "id": "c",
    "podref": "default/web",
    "ifname": "net1",
    "wanted": [],
    "avoid": [],
    "sticky": True,
    "claim": False,
    "fence": True,
}
ODD: list[Any] = [
    {},
    {"spec": None},
    {"spec": []},
    {"spec": {"allocations": None}},
    {"spec": {"allocations": {"-1": {}, "x": {}, "٣": {}, "2": None, "9" * 40: {"id": 5}}}},
    {"metadata": {"annotations": {pool.REMEMBERED: "{"}}},
    {"metadata": {"annotations": {pool.REMEMBERED: '{"default/web net1": -7}'}}},
    {"metadata": {"annotations": {pool.REMEMBERED: '{"default/web net1": 9999}'}}},
]


@pytest.mark.parametrize("wire", ODD, ids=str)
def test_an_address_of_the_range_is_allocated_and_given_back(wire: Any) -> None:
    assert pool.allocate(wire, GIVEN).answer == 1
    assert pool.release(wire, GIVEN).answer == {}


def test_an_allocation_without_a_holder_keeps_its_address() -> None:
    wire = {"spec": {"allocations": {"7": "somebody"}}}
    with pytest.raises(AddressesExhausted, match="in use by another range"):
        pool.allocate(wire, {**GIVEN, "wanted": [7]})
