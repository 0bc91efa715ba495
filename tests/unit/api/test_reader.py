from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from unit.values import values

from multus.api.errors import InvalidConfig
from multus.api.reader import Reader, describe

METHODS = ["text", "path", "boolean", "integer", "number", "mapping", "sequence", "mappings"]


def reader(value: Any) -> Reader:
    return Reader({"key": value}, "thing 'x'")


@pytest.mark.parametrize(
    ("method", "value", "read"),
    [
        ("text", "a", "a"),
        ("path", "/a/", "/a"),
        ("path", "/", "/"),
        ("boolean", True, True),
        ("boolean", "True", True),
        ("boolean", "false", False),
        ("integer", 5, 5),
        ("number", 5, 5.0),
        ("number", 0.5, 0.5),
        ("mapping", {"a": 1}, {"a": 1}),
        ("sequence", [1], [1]),
        ("mappings", [{"a": 1}], [{"a": 1}]),
        ("texts", ["a"], ["a"]),
    ],
)
def test_what_fits_is_read(method: str, value: Any, read: Any) -> None:
    assert getattr(reader(value), method)("key") == read


@pytest.mark.parametrize("method", [*METHODS, "texts"])
def test_what_is_absent_or_null_is_the_default(method: str) -> None:
    absent = getattr(Reader({}, "x"), method)("key")
    assert absent == getattr(reader(None), method)("key")
    assert not absent


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("text", 5),
        ("path", "a/b"),
        ("path", "/a\0"),
        ("boolean", "yes"),
        ("boolean", 1),
        ("integer", True),
        ("integer", 1.5),
        ("number", "5"),
        ("number", False),
        ("mapping", []),
        ("sequence", {}),
        ("mappings", [[]]),
        ("mappings", [{}, None]),
        ("texts", ["a", 5]),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(method: str, value: Any) -> None:
    with pytest.raises(InvalidConfig) as caught:
        getattr(reader(value), method)("key")
    assert caught.value.msg.startswith("thing 'x': 'key")


@given(values)
def test_any_value_is_read_or_refused(value: Any) -> None:
    for method in METHODS:
        try:
            getattr(reader(value), method)("key")
        except InvalidConfig:
            continue


@given(values)
def test_every_value_has_words(value: Any) -> None:
    assert describe(value) in {
        *("an object", "a list", "a string", "true or false", "a whole number", "a number", "null"),
    }
