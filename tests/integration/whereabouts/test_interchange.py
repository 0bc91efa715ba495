"""The binary and this plugin at one API server: what one allocates, the other knows and frees."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from integration.whereabouts.binary import Binary, installed
from integration.whereabouts.cluster import Node
from integration.whereabouts.observe import OBSERVED, SLICED, divided
from multus.testing.apiserver import ApiServer

pytestmark = pytest.mark.skipif(installed() is None, reason="whereabouts' binary is not installed")

FORMS: Mapping[str, Mapping[str, Any]] = {
    "IPv4": {},
    "IPv6": {"range": "fd00:7::/64"},
    "named": {"network_name": "blue"},
    "both": {"ipRanges": [{"range": "fd00:7::/112"}]},
    "slices": SLICED,
}
_POOLS = {
    "IPv4": {"10.7.0.0-24"},
    "IPv6": {"fd00-7---64"},
    "named": {"blue-10.7.0.0-24"},
    "both": {"10.7.0.0-24", "fd00-7---112"},
    "slices": {"n1-10.7.0.0-26"},
}


@pytest.fixture
def binary(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Binary:
    """A node of the same name with the binary; its range may be divided."""
    monkeypatch.setenv("MULTUS_NODE_NAME", "n1")
    divided(node, json.loads(OBSERVED.read_text())["nodeslicepools"])
    return Binary(str(installed()), node.kubeconfig, tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_either_frees_what_the_other_allocated(form: str, node: Node, binary: Binary) -> None:
    keys = FORMS[form]
    ours = node.add("ours", **keys)
    theirs = binary.addresses("theirs", **keys)
    assert {each.address for each in ours.ips}.isdisjoint(theirs)
    assert node.stored("ippools").keys() == _POOLS[form]
    assert len(node.stored("overlappingrangeipreservations")) == 2 * len(theirs)
    binary.delete("ours", **keys)
    node.delete("theirs", **keys)
    assert all(node.allocations(pool) == {} for pool in _POOLS[form])
    assert node.stored("overlappingrangeipreservations") == {}


def test_a_new_sandbox_keeps_the_address_whoever_attaches_it(node: Node, binary: Binary) -> None:
    for first, second in ((node, binary), (binary, node)):
        before = first.addresses("web", container="old")
        assert second.addresses("web", container="new") == before
        node.delete("web", container="new")
    assert node.stored("overlappingrangeipreservations") == {}


def test_both_pass_over_what_the_other_reserved_in_another_range(
    node: Node, binary: Binary
) -> None:
    node.add("a", range="10.7.0.0/16")
    assert binary.addresses("b") == ["10.7.0.2/24"]
    assert node.addresses("c", range="10.7.0.0/16") == ["10.7.0.3/16"]


def test_both_at_once_give_no_address_twice(
    api: ApiServer, nodes: Callable[[int], list[Node]], binary: Binary
) -> None:
    plugins = nodes(3)
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(binary.addresses, f"theirs-{n}") for n in range(4)]
        asked += [
            threads.submit(plugins[n % 3].addresses, f"ours-{n}", container=f"o{n}")
            for n in range(24)
        ]
        found = [address for each in asked for address in each.result()]
    assert sorted(found) == sorted(f"10.7.0.{n}/24" for n in range(1, 29))
    assert len(plugins[0].allocations()) == len(found)


def test_the_binary_allocates_nothing_from_a_range_with_blocks(node: Node, binary: Binary) -> None:
    node.register("n1")
    blocks = {"range": "10.7.0.0/24", "block": 28}
    (ours,) = node.addresses("ours", **blocks)
    for keys in ({}, blocks):
        with pytest.raises(AssertionError, match=r"10\.7\.0\.0/24 in blocks of /28"):
            binary.add("theirs", **keys)
    binary.delete("theirs")
    assert node.allocations() == {}
    assert node.addresses("ours", **blocks) == [ours]
