"""What an API server sends, of which one value is odd."""

from __future__ import annotations

import json

import pytest

from multus.kube.wire import decode, metadata_of


def test_what_is_nested_too_deep_is_null_and_all_else_is_there() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    body = b'{"a":{"x":%s,"y":"]}"},"b":[1,"\\"[",%s,2]}' % (
        deep,
        b'{"k":' * 5000 + b"1" + b"}" * 5000,
    )
    found = decode(body)
    assert (found["a"]["y"], found["b"][:2], found["b"][3]) == ("]}", [1, '"['], 2)


def test_a_number_of_thousands_of_digits_spoils_nothing() -> None:
    found = decode(b'{"a":%s,"b":12345678901234567890}' % (b"9" * 100_000))
    assert found == {"a": float("inf"), "b": 12345678901234567890}


def test_both_at_once() -> None:
    found = decode(b'[%s,%s,"x"]' % (b"[" * 5000 + b"]" * 5000, b"9" * 5000))
    assert found[1:] == [float("inf"), "x"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 5000, b"\xff", b'{"a":'])
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        decode(body)


def test_halves_of_pairs_are_read_as_they_are() -> None:
    assert decode(b'"\\ud800"') == "\ud800"
    assert decode(json.dumps("é\U0001f600").encode()) == "é\U0001f600"


@pytest.mark.parametrize("wire", [None, 5, [], {}, {"metadata": 5}, {"metadata": []}])
def test_metadata_is_always_a_mapping(wire: object) -> None:
    assert metadata_of(wire) == {}
