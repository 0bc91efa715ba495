"""The order in which a range set's addresses are assigned."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multus.api.errors import InvalidConfig
from multus.ipam._ranges import RangeSet
from multus.ipam.addresses import Address

TWO = [
    {"subnet": "10.1.0.0/29", "rangeStart": "10.1.0.2", "rangeEnd": "10.1.0.4"},
    {"subnet": "10.2.0.0/29", "gateway": "10.2.0.2"},
]


def _set(raw: list[dict[str, Any]]) -> RangeSet:
    return RangeSet.from_wire(raw, "set")


def _texts(pool: RangeSet, last: str | None) -> list[str]:
    address = Address.parse(last) if last else None
    return [str(each) for each, _ in pool.candidates(address)]


ALL = [
    "10.1.0.2", "10.1.0.3", "10.1.0.4",
    "10.2.0.1", "10.2.0.3", "10.2.0.4", "10.2.0.5", "10.2.0.6",
]  # fmt: skip


@pytest.mark.parametrize(
    ("last", "first"),
    [
        (None, 0),
        ("192.0.2.1", 0),
        ("fd00::1", 0),
        ("10.1.0.1", 0),
        ("10.1.0.2", 1),
        ("10.1.0.4", 3),
        ("10.2.0.1", 4),
        ("10.2.0.2", 4),
        ("10.2.0.6", 0),
    ],
)
def test_the_one_after_the_last_comes_first_and_the_last_comes_last(
    last: str | None, first: int
) -> None:
    assert _texts(_set(TWO), last) == ALL[first:] + ALL[:first]


@given(
    st.integers(0, 13).flatmap(lambda low: st.tuples(st.just(low), st.integers(low, 15))),
    st.integers(0, 15),
    st.integers(-1, 16),
)
def test_every_address_comes_once_and_the_gateway_never(
    bounds: tuple[int, int], gateway: int, last: int
) -> None:
    base = Address.parse("fd00::")
    assert base is not None
    low, high = (str(base + offset) for offset in bounds)
    pool = _set(
        [
            {
                "subnet": "fd00::/124",
                "rangeStart": low,
                "rangeEnd": high,
                "gateway": str(base + gateway),
            }
        ]
    )
    found = [each.value - base.value for each, _ in pool.candidates(base + last)]
    assert sorted(found) == [each for each in range(bounds[0], bounds[1] + 1) if each != gateway]
    assert len(found) == pool.size


def test_a_range_of_a_whole_subnet_of_ipv6_is_not_walked_to_its_end() -> None:
    pool = _set([{"subnet": "fd00::/64"}])
    assert str(next(pool.candidates(None))[0]) == "fd00::2"
    assert pool.size == 2**64 - 2


def test_errors_name_the_set_and_the_key() -> None:
    with pytest.raises(InvalidConfig) as caught:
        RangeSet.from_wire([{"subnet": "10.0.0.0/24", "rangeStart": "x"}], "network 'a': set 1")
    assert "network 'a': set 1: 'rangeStart' is 'x'" in caught.value.msg


def test_a_set_that_holds_no_objects_is_refused() -> None:
    with pytest.raises(InvalidConfig):
        RangeSet.from_wire([None], "set")
