from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multus.api.names import interface_problem, is_identifier, unnameable


@pytest.mark.parametrize("name", ["a", "0", "a-b_c.d", "A" * 300, "0" * 64])
def test_identifiers(name: str) -> None:
    assert is_identifier(name)


@pytest.mark.parametrize("name", ["", "-a", ".a", "_a", "a b", "a/b", "a\n", "é", "a:b", "a\0"])
def test_invalid_identifiers(name: str) -> None:
    assert not is_identifier(name)


@pytest.mark.parametrize("name", ["eth0", "a" * 15, "net-1.100", "é" * 7])
def test_names_of_interfaces(name: str) -> None:
    assert interface_problem(name) is None


@pytest.mark.parametrize("name", ["x%d", "%", "eth0%", "100%"])
def test_a_kernel_pattern_is_not_a_valid_name_but_may_be_recorded(name: str) -> None:
    problem = interface_problem(name)
    assert problem is not None and "'%'" in problem
    assert unnameable(name) is None


@pytest.mark.parametrize("name", ["", "a" * 16, "é" * 8, ".", "..", "a/b", "a:b", "a b", "a\0"])
def test_what_names_no_interface(name: str) -> None:
    assert interface_problem(name) and unnameable(name)


@given(st.text(max_size=20))
def test_a_name_that_passes_is_one_that_a_path_can_end_in(name: str) -> None:
    if interface_problem(name) is None:
        assert "/" not in name and "\0" not in name and name not in ("", ".", "..")
        assert len(name.encode()) <= 15
