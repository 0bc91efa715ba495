"""Objects that the binary wrote are read, changed and given back; ours are what it reads.

``recorded.json`` has the objects after ADDs of pods a, c and x by whereabouts 0.9, and of pods b
and y by this plugin, in turn: of each pod one interface.  Pod x has more, ``m0`` and so on, each of
a form of range of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from integration.whereabouts.cluster import Node

RECORDED: dict[str, dict[str, dict[str, Any]]] = json.loads(
    Path(__file__).with_name("recorded.json").read_text()
)

#: Keys of ``ipam``, and the addresses that the binary gave to an interface of pod x for them.
FORMS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "m0": (
        {"range": "", "ipRanges": [{"range": "10.21.0.0/24"}, {"range": "fd00:21::/112"}]},
        ["10.21.0.1/24", "fd00:21::1/112"],
    ),
    "m1": (
        {"range": "10.22.0.0/16", "range_start": "10.22.1.44", "range_end": "10.22.1.60"},
        ["10.22.1.44/16"],
    ),
    "m2": (
        {"range": "10.23.0.16-10.23.0.31/24", "exclude": ["10.23.0.16/30"]},
        ["10.23.0.20/24"],
    ),
    "m3": (
        {"range": "10.24.0.0/24", "enable_overlapping_ranges": False},
        ["10.24.0.1/24"],
    ),
    "m4": ({"range": "10.25.0.0/16", "range_start": "10.25.0.1"}, ["10.25.0.1/16"]),
    "m6": ({"range": "fd00:26::/64", "range_start": "fd00:26::ff00"}, ["fd00:26::ff00/64"]),
    "m7": ({"range": "10.27.0.0/24", "network_name": "blue"}, ["10.27.0.1/24"]),
    "m8": ({"range": "2001:db8:0:1:2:3:4:0/112"}, ["2001:db8:0:1:2:3:4:1/112"]),
}


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


def named(node: Node, ifname: str) -> list[str]:
    """The objects that say that an interface of a pod has an address."""
    pools = {
        name: each
        for name, pool in node.stored("ippools").items()
        for each in pool["spec"]["allocations"].values()
        if each["ifname"] == ifname
    }
    reserved = node.stored("overlappingrangeipreservations").items()
    return [*pools, *(name for name, each in reserved if each["spec"]["ifname"] == ifname)]


@pytest.mark.parametrize("ifname", FORMS)
def test_ranges_of_every_form_are_the_binarys(node: Node, ifname: str) -> None:
    given(node)
    keys, addresses = FORMS[ifname]
    before = named(node, ifname)
    assert node.addresses("x", ifname=ifname, container="new", **keys) == addresses
    assert named(node, ifname) == before
    other = node.addresses("z", ifname=ifname, **keys)
    assert len(other) == len(addresses) and set(other).isdisjoint(addresses)
    node.delete("z", ifname=ifname, **keys)
    node.delete("x", ifname=ifname, container="new", **keys)
    assert named(node, ifname) == []


@pytest.mark.parametrize("ifname", FORMS)
def test_a_del_gives_back_what_the_binary_allocated(node: Node, ifname: str) -> None:
    given(node)
    others = {each: named(node, each) for each in (*FORMS, "net1") if each != ifname}
    node.delete("x", container="c-x", ifname=ifname, **FORMS[ifname][0])
    assert named(node, ifname) == []
    assert {each: named(node, each) for each in others} == others


def test_an_address_that_the_binary_gave_to_two_interfaces_is_used_once(node: Node) -> None:
    """It gives an address of overlapping ranges to each interface of one pod; we do not."""
    given(node)
    assert [named(node, each) for each in ("m4", "m5")] == [
        ["10.25.0.0-16", "10.25.0.1"],
        ["10.25.0.0-28"],
    ]
    within = {"ifname": "m5", "range": "10.25.0.0/28"}
    assert node.addresses("x", container="new", **within) == ["10.25.0.2/28"]
    node.delete("x", container="new", **within)
    assert named(node, "m4") == ["10.25.0.0-16", "10.25.0.1"]
    assert named(node, "m5") == []
