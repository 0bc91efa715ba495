from __future__ import annotations

import pytest

from multus.api.where import Path, Where, as_path, dotted, path_of, within


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ()),
        ("name", ("name",)),
        ("delegates[0].type", ("delegates", 0, "type")),
        ("a[0][1]", ("a", 0, 1)),
        ("[2].ips", (2, "ips")),
    ],
)
def test_a_path_is_written_as_people_do(text: str, path: Path) -> None:
    assert as_path(text) == path
    assert dotted(path) == text


def test_a_tuple_is_a_path_whatever_its_keys_hold() -> None:
    assert as_path(("metadata", "k8s.io/x")) == ("metadata", "k8s.io/x")


def test_a_part_of_an_object_is_text_with_a_path() -> None:
    part = within(Where("pod a/b", ("spec",)), ", entry 1", "list", 0)
    assert part == "pod a/b, entry 1" and f"{part}!" == "pod a/b, entry 1!"
    assert path_of(part) == ("spec", "list", 0)


def test_plain_text_begins_at_the_top() -> None:
    assert path_of("pod a/b") == ()
    assert path_of(within("pod a/b", ", entry 1", 0)) == (0,)
