"""This plugin answers and writes what the binary does: ``observed.json`` is of release 0.9.3."""

from __future__ import annotations

import json
from typing import Any

import pytest

from integration.whereabouts.cluster import Node
from integration.whereabouts.observe import CASES, NODE, OBSERVED, divided, written
from multus.api.result import Result

SEEN: dict[str, dict[str, Any]] = json.loads(OBSERVED.read_text())


@pytest.mark.parametrize("name", CASES)
def test_the_result_and_the_objects_are_the_binarys(
    name: str, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MULTUS_NODE_NAME", NODE)
    divided(node, SEEN["nodeslicepools"])
    seen = SEEN["cases"][name]
    result = node.add("a", **CASES[name])
    assert result.to_wire("1.0.0") == Result.from_wire(seen["result"]).to_wire("1.0.0")
    found = written(node)
    for each in found["overlappingrangeipreservations"].values():
        # The binary writes no container; a late DEL of an earlier one is told by it here.
        assert each.pop("containerid") == "c-a"
    assert found == seen["written"]
    node.delete("a", prev=result, **CASES[name])
    assert all(not each["allocations"] for each in written(node)["ippools"].values())
    assert not node.stored("overlappingrangeipreservations")
