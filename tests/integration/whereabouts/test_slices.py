"""A range that the cluster has divided among its nodes: the key ``node_slice_size``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from integration.whereabouts.cluster import Node
from integration.whereabouts.observe import OBSERVED, SLICED, divided
from multus.api.errors import AddressesExhausted, CNIError, InvalidConfig, NotAvailable
from multus.testing.apiserver import Fault

MADE: dict[str, dict[str, Any]] = json.loads(OBSERVED.read_text())["nodeslicepools"]


@pytest.fixture
def sliced(node: Node, monkeypatch: pytest.MonkeyPatch) -> Node:
    """Node n1, with what whereabouts' controller makes for n1 and n2."""
    monkeypatch.setenv("MULTUS_NODE_NAME", "n1")
    divided(node, {"net1": _assigned("n1", "n2", "", "")})
    return node


def _assigned(*nodes: str) -> Mapping[str, Any]:
    """A NodeSlicePool with the parts of *nodes*; "" for a part that is free."""
    parts = [each["sliceRange"] for each in MADE["net1"]["status"]["allocations"]]
    listed = zip(nodes, parts, strict=True)
    told = [{"nodeName": name, "sliceRange": part} for name, part in listed]
    return {**MADE["net1"], "status": {"allocations": told}}


def _reassign(node: Node, *nodes: str) -> None:
    (made,) = node.stored("nodeslicepools").values()
    node.api.delete(made)
    divided(node, {"net1": _assigned(*nodes)})


def test_each_node_allocates_in_its_own_part(sliced: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sliced.addresses("a", **SLICED) == ["10.7.0.1/24"]
    assert sliced.addresses("b", exclude=["10.7.0.0/29"], **SLICED) == ["10.7.0.8/24"]
    monkeypatch.setenv("MULTUS_NODE_NAME", "n2")
    assert sliced.addresses("c", **SLICED) == ["10.7.0.65/24"]
    assert sliced.allocations("n1-10.7.0.0-26").keys() == {"1", "8"}
    assert sliced.allocations("n2-10.7.0.64-26").keys() == {"1"}


def test_an_add_whose_pool_is_refused_leaves_no_reservation(sliced: Node) -> None:
    sliced.add("a", **SLICED)
    fault = Fault("status", path="*/ippools/*", method="PATCH", code=403, reason="Forbidden")
    sliced.api.faults.add(fault)
    posted = sliced.requests("POST")
    with pytest.raises(CNIError, match="Forbidden"):
        sliced.add("b", **SLICED)
    # It was reserved while the pool was written: on a part of its own, nobody else comes between.
    assert sliced.requests("POST") == posted + 1
    assert sliced.stored("overlappingrangeipreservations").keys() == {"10.7.0.1"}


def test_a_del_with_a_result_frees_whatever_the_controller_has_done_since(sliced: Node) -> None:
    result = sliced.add("a", **SLICED)
    _reassign(sliced, "n2", "n1", "", "")
    sliced.pool("CHECK", "a", prev=result, **SLICED).check()
    sliced.delete("a", prev=result, **SLICED)
    assert sliced.allocations("n1-10.7.0.0-26") == {}
    assert sliced.stored("overlappingrangeipreservations") == {}


def test_a_del_with_a_result_is_kept_while_the_api_server_is_away(sliced: Node) -> None:
    result = sliced.add("a", **SLICED)
    sliced.api.faults.add(Fault("reset", path="*whereabouts*", times=0))
    sliced.delete("a", prev=result, **SLICED)
    sliced.api.faults.clear()
    sliced.add("b", **SLICED)
    assert sliced.allocations("n1-10.7.0.0-26") == {"1": "default/b net1"}


def test_a_del_after_a_killed_add_looks_in_the_part_of_the_node(sliced: Node) -> None:
    sliced.add("a", **SLICED)
    sliced.delete("a", **SLICED)
    assert sliced.allocations("n1-10.7.0.0-26") == {}
    _reassign(sliced, "n2", "", "", "")
    sliced.delete("a", **SLICED)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (("n2", "", "", ""), r"NodeSlicePool kube-system/net1 has no part for node n1"),
        (("n2", "n3", "n4", "n5"), r"no part of 10\.7\.0\.0/24, and other nodes have all 4"),
    ],
)
def test_a_node_without_a_part_is_told_why(sliced: Node, nodes: tuple[str, ...], said: str) -> None:
    _reassign(sliced, *nodes)
    with pytest.raises(CNIError, match=said) as caught:
        sliced.add("a", **SLICED)
    assert caught.value.number == (11 if "" in nodes else 103)
    with pytest.raises(NotAvailable):
        sliced.pool("STATUS", **SLICED).status()
    assert sliced.stored("ippools") == {}


def test_without_the_controller_an_add_says_what_is_missing(node: Node) -> None:
    with pytest.raises(CNIError, match=r"kube-system/blue does not exist.*node-slice-controller"):
        node.add("a", network_name="blue", **SLICED)
    node.delete("a", network_name="blue", **SLICED)


def test_what_the_controller_has_not_divided_yet_is_not_used(sliced: Node) -> None:
    with pytest.raises(CNIError, match=r"not a part of 10\.7\.0\.0/24 with prefix 27"):
        sliced.add("a", **{**SLICED, "node_slice_size": "/27"})
    with pytest.raises(CNIError, match=r"not a part of 10\.8\.0\.0/24"):
        sliced.add("a", **{**SLICED, "range": "10.8.0.0/24"})


def test_a_full_part_says_how_full_it_is(sliced: Node) -> None:
    small = {"range_start": "10.7.0.1", "range_end": "10.7.0.2", **SLICED}
    for name in ("a", "b"):
        sliced.add(name, **small)
    with pytest.raises(AddressesExhausted, match=r"range 10\.7\.0\.0/26: no address is free"):
        sliced.add("c", **small)
    with pytest.raises(AddressesExhausted, match="has no address that may be allocated"):
        sliced.add("c", exclude=["10.7.0.0/25"], **SLICED)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"node_slice_size": "/22"}, "is '/22', which is not the size of a part of 10.7.0.0/24"),
        ({"node_slice_size": "26x"}, "is '26x'"),
        ({"ipRanges": [{"range": "fd00::/64"}]}, "divides one range, and there are more"),
    ],
)
def test_what_cannot_be_divided_is_refused(sliced: Node, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        sliced.add("a", **{**SLICED, **keys})
    assert said in str(caught.value)
    sliced.delete("a", **{**SLICED, **keys})


def test_the_command_names_the_network_of_a_part(sliced: Node) -> None:
    divided(sliced, {"blue": MADE["net1"]})
    sliced.api.create_pod("a")
    for keys in ({}, {"network_name": "blue"}):
        sliced.add("a", **keys, **SLICED)
    argv = [sys.executable, "-m", "multus", "ipam", "list", "--json"]
    done = subprocess.run(
        [*argv, "--kubeconfig", sliced.kubeconfig], capture_output=True, text=True, check=True
    )
    found = {(each["range"], each["network"]): each for each in json.loads(done.stdout)}
    assert len(found) == 2, done.stdout
    for each in found.values():
        (allocation,) = each["allocations"]
        assert (allocation["address"], allocation["remark"]) == ("10.7.0.1", "")
