from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.values import values

from multus.api.errors import DecodingFailure
from multus.api.frozen import DEEPEST
from multus.api.jsontext import LARGEST, decode, decode_object, encode

NUMBERS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?", fullmatch=True
)


@given(values)
def test_what_is_encoded_is_decoded_again(value: Any) -> None:
    data = encode(value)
    assert decode(data, "x") == value
    assert json.loads(data) == value


@given(values)
def test_what_was_written_compactly_is_written_the_same(value: Any) -> None:
    written = json.dumps(value, separators=(",", ":")).encode()
    assert encode(decode(written, "x")) == written


@given(NUMBERS.filter(lambda text: text != "-0"))
def test_a_number_is_written_as_it_was_read(number: str) -> None:
    written = f'{{"x":[{number}]}}'.encode()
    assert encode(decode(written, "x")) == written


@given(NUMBERS)
def test_a_number_has_the_value_that_it_says(number: str) -> None:
    value = decode(number.encode(), "x")
    assert value == json.loads(number)
    assert isinstance(value, int | float)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_nan_and_infinity_are_not_written(value: Any) -> None:
    with pytest.raises(ValueError, match=r"not a JSON number|not JSON compliant"):
        encode(value)


@pytest.mark.parametrize("value", [{1, 2}, {"x": object()}, b"x"])
def test_what_json_has_no_form_for_is_not_written(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b'{"a": 1', "too early"),
        (b'{"a"', "too early"),
        (b'{\n"a": b}', "line 2 column 6"),
        (b"{'a': 1}", "line 1"),
        (b'{"a": 1}{"a": 1}', "Extra data"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": 1,\n}', "line 1 column 8: a comma stands before the closing bracket: delete it"),
        (b"[1,  ]", "line 1 column 3: a comma stands before the closing bracket: delete it"),
        (b'{"a":[1],}', "line 1 column 9: a comma stands before the closing bracket: delete it"),
        (b'{"a":",}"x}', "line 1 column 10"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": ' + 5000 * b"1" + b"}", "has a number with more than 4300 digits: write a short"),
        (b'{"a": "\\k"}', "each backslash twice"),
        (b'{\n  # why\n"a": 1}', "'# why' is a comment, and JSON has none: delete the line"),
    ],
)
def test_an_error_says_where_and_what(data: bytes, said: str) -> None:
    with pytest.raises(DecodingFailure) as caught:
        decode(data, "the thing")
    assert caught.value.msg.startswith("the thing ")
    assert said in caught.value.msg


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        decode(data, "x")
    except DecodingFailure as error:
        assert len(error.msg) < 500


class TestBounds:
    @pytest.mark.parametrize("opening", [b"[", b'{"a":'])
    def test_deep_nesting_is_refused(self, opening: bytes) -> None:
        closing = b"]" if opening == b"[" else b"}"
        for depth in (DEEPEST + 1, 100_000):
            with pytest.raises(DecodingFailure, match="nested deeper"):
                decode(opening * depth + b"1" + closing * depth, "x")

    def test_what_is_nested_as_deep_as_allowed_is_read_and_written(self) -> None:
        data = b"[" * DEEPEST + b"]" * DEEPEST
        assert encode(decode(data, "x")) == data

    def test_a_megabyte_of_brackets_is_refused(self) -> None:
        with pytest.raises(DecodingFailure):
            decode(b"[" * 1_000_000, "x")

    def test_what_is_too_long_is_not_taken_apart(self) -> None:
        with pytest.raises(DecodingFailure, match=str(LARGEST)):
            decode(b" " * (LARGEST + 1), "x")


class TestComments:
    TEXT = b'{\n# one\n  "a": "#b",\n\t#two, {\n"c": 1\n}'

    def test_whole_lines_are_left_out_where_that_is_allowed(self) -> None:
        assert decode(self.TEXT, "x", comments=True) == {"a": "#b", "c": 1}

    def test_elsewhere_they_are_an_error(self) -> None:
        with pytest.raises(DecodingFailure, match="line 2"):
            decode(self.TEXT, "x")

    def test_errors_still_name_the_line_of_the_file(self) -> None:
        with pytest.raises(DecodingFailure, match="line 3"):
            decode(b"# one\n# two\n{a}", "x", comments=True)


@pytest.mark.parametrize("data", [b"[]", b"null", b'"x"', b"5"])
def test_text_that_is_not_an_object_is_refused_when_one_is_needed(data: bytes) -> None:
    with pytest.raises(DecodingFailure, match="is not a JSON object"):
        decode_object(data, "x")
