"""Keys in another letter case, as Go's decoder takes them."""

from __future__ import annotations

from typing import Any

import pytest

from multus.api.frozen import freeze
from multus.api.spelling import Spelling, misspelled, spelled, spelled_path

INNER = Spelling(("hostPort",))
SPELLING = Spelling(("name", "kubeconfig", "cni-args"), {"ports": INNER, "limits": INNER})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"kubeConfig": "/x"}, {"kubeconfig": "/x"}),
        ({"KUBECONFIG": "/x"}, {"kubeconfig": "/x"}),
        ({"\u212aubeconfig": "/x"}, {"kubeconfig": "/x"}),
        ({"cni-argſ": {}}, {"cni-args": {}}),
        ({"name": "a", "Name": "b"}, {"name": "b"}),
        ({"Name": "b", "name": "a"}, {"name": "a"}),
        ({"name": "a", "NAME": None}, {"name": "a"}),
        ({"NAME": None}, {"name": None}),
        ({"Ports": [{"HostPort": 1}, 7]}, {"ports": [{"hostPort": 1}, 7]}),
        ({"limits": {"HOSTPORT": 1}}, {"limits": {"hostPort": 1}}),
        ({"cni-args": {"NAME": 1}}, {"cni-args": {"NAME": 1}}),
        ({"other": 1, "naame": 2}, {"other": 1, "naame": 2}),
        ({"limits": "x", "ports": "y"}, {"limits": "x", "ports": "y"}),
    ],
)
def test_the_last_spelling_of_a_key_counts(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert spelled(given, SPELLING) == expected
    assert spelled(freeze(given), SPELLING) == expected


def test_an_object_that_is_spelled_well_is_not_copied() -> None:
    given = freeze({"name": "a", "ports": [{"hostPort": 1}], "other": {"Name": 1}})
    assert spelled(given, SPELLING) is given


def test_each_other_spelling_is_named_as_it_is_written() -> None:
    given = {"Name": "a", "Ports": [{"hostPort": 1}, {"HOSTPORT": 2}], "limits": {"hostport": 1}}
    assert list(misspelled(given, SPELLING)) == [
        (("Name",), "name"),
        (("Ports",), "ports"),
        (("Ports", 1, "HOSTPORT"), "hostPort"),
        (("limits", "hostport"), "hostPort"),
    ]


def test_a_path_is_spelled_through_lists_and_objects() -> None:
    assert spelled_path(("PORTS", 1, "hostport"), SPELLING) == ("ports", 1, "hostPort")
    assert spelled_path(("Other", "Name"), SPELLING) == ("Other", "Name")
