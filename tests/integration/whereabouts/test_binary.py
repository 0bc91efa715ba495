"""Objects that the binary wrote are read, changed and given back; ours are what it reads.

``recorded.json`` has the objects after ADDs of pods a, c and x by whereabouts 0.9, and of pods b
and y by this plugin, in turn: of each pod one interface.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from integration.whereabouts.cluster import Node

RECORDED: dict[str, dict[str, dict[str, Any]]] = json.loads(
    Path(__file__).with_name("recorded.json").read_text()
)


def given(node: Node) -> None:
    for objects in RECORDED.values():
        for each in objects.values():
            node.api.create(each)


def test_pods_of_the_binary_keep_their_addresses(node: Node) -> None:
    given(node)
    assert node.addresses("a", container="new") == ["10.7.0.1/24"]
    assert node.addresses("d") == ["10.7.0.4/24"]


def test_what_the_binary_reserved_is_given_back(node: Node) -> None:
    given(node)
    for pod in "abc":
        node.delete(pod)
    assert sorted(node.allocations()) == ["20", "21", "8", "9"]
    reserved = node.stored("overlappingrangeipreservations")
    assert {"10.7.0.1", "10.7.0.2", "10.7.0.3"}.isdisjoint(reserved)
    assert "10.7.0.8" in reserved


def test_a_late_del_leaves_a_reservation_of_the_binary_for_a_newer_container(node: Node) -> None:
    given(node)
    node.delete("a", container="older", prev=None)
    assert "10.7.0.1" in node.stored("overlappingrangeipreservations")


def test_both_write_objects_of_one_form() -> None:
    pools = RECORDED["ippools"]
    for name, pool in pools.items():
        assert pool["kind"] == "IPPool" and set(pool["spec"]) == {"range", "allocations"}
        assert name.endswith(pool["spec"]["range"].replace(":", "-").replace("/", "-"))
        for distance, each in pool["spec"]["allocations"].items():
            assert distance == str(int(distance))
            assert set(each) == {"id", "podref", "ifname"}
    for each in RECORDED["overlappingrangeipreservations"].values():
        ours = each["spec"]["podref"][-1] in "by"
        assert set(each["spec"]) == {"podref", "ifname", *(["containerid"] if ours else [])}
