from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from multus.api.versions import NEWEST, SUPPORTED, at_least, highest_common


def test_all_versions_of_the_specification_are_spoken() -> None:
    assert SUPPORTED == ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
    assert NEWEST == "1.1.0"


@given(st.sampled_from(SUPPORTED), st.sampled_from(SUPPORTED))
def test_versions_are_ordered_as_numbers(one: str, other: str) -> None:
    def numbers(version: str) -> list[int]:
        return [int(part) for part in version.split(".")]

    assert at_least(one, other) == (numbers(one) >= numbers(other))


@given(st.lists(st.sampled_from([*SUPPORTED, "9.0.0", "", "x"])))
def test_two_sides_agree_on_the_newest_that_both_know(theirs: list[str]) -> None:
    common = [version for version in SUPPORTED if version in theirs]
    assert highest_common(theirs) == (common[-1] if common else None)
