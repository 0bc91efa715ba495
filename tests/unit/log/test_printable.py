from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from multus.log._printable import printable


def test_what_can_be_seen_is_left_as_it_is() -> None:
    for text in ("", "default/web", "café", "網路", "a b", "[red]x[/]", "✓"):
        assert printable(text) == text


def test_what_cannot_be_seen_is_written_as_its_escape() -> None:
    given = "a\x1b[31m\n\t\r\x7f\x9b\u202e\u2028\u200b\ufeff\udc9b\U000e0041"
    shown = r"a\x1b[31m\n\t\r\x7f\x9b\u202e\u2028\u200b\ufeff\udc9b\U000e0041"
    assert printable(given) == shown


def test_long_text_is_cut_and_says_so() -> None:
    assert printable("x" * 30, 10) == "xxxxxxxxxx... (20 more characters)"
    assert printable("x" * 10, 10) == "x" * 10


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_becomes_one_visible_line(text: str) -> None:
    shown = printable(text)
    assert {unicodedata.category(char)[0] for char in shown if char != " "} <= set("LMNPS")
    shown.encode()
