"""The troubleshooting page has every code that Multus gives, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator

from repository import ROOT

from multus.api.errors import CNIError

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()


def codes() -> Iterator[int]:
    """The code of each class of errors that the core defines."""
    found = [CNIError]
    while found:
        kind = found.pop()
        found += kind.__subclasses__()
        if kind.__module__.startswith("multus."):
            yield kind.code


def test_the_table_has_each_code_once() -> None:
    rows = re.findall(r"^\| ([0-9, ]+) \| ", PAGE, re.MULTILINE)
    listed = [int(each) for row in rows for each in row.split(",")]
    assert sorted(listed) == sorted(set(codes()))


def test_each_code_has_a_section_to_which_its_row_leads() -> None:
    titles = re.findall(r"^## (([0-9]+)(?: and ([0-9]+))?: .*)$", PAGE, re.MULTILINE)
    told = {int(each) for _, *numbers in titles for each in numbers if each}
    assert told == set(codes())
    for title, *_ in titles:
        anchor = re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        assert f"](#{anchor})" in PAGE
