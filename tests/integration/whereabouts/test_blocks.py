"""A range that is given out in blocks: a node allocates in its own, without the API server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from integration.whereabouts.cluster import Node
from multus import ipam
from multus.api.errors import (
    AddressesExhausted,
    CheckFailed,
    InvalidConfig,
    IOFailure,
    TryAgainLater,
)
from multus.testing.apiserver import Fault
from multus.testing.invocation import Caller

BLOCKS: dict[str, Any] = {"range": "10.7.0.0/24", "block": 28}
POOLED: dict[str, Any] = {"range": "10.7.0.0/24"}


@pytest.fixture(autouse=True)
def registered(node: Node) -> None:
    node.register()


def away(node: Node) -> None:
    node.api.faults.add(Fault("reset", times=0))


def folder(node: Node, *inner: str) -> Path:
    return Path(node.cni_dir, ".blocks", "kube-system_10.7.0.0-24", *inner)


def states(node: Node) -> dict[str, str]:
    paths = folder(node).glob("*/block")
    return {path.parent.name: json.loads(path.read_text())["state"] for path in paths}


def test_the_first_pod_takes_a_block_and_the_others_need_no_api_server(node: Node) -> None:
    (first,) = node.addresses("p0", **BLOCKS)
    (name,) = node.blocks()
    found = node.stored("addressblocks", "ipam.multus")[name]["spec"]
    assert found["range"] == "10.7.0.0/24" and found["node"] == os.uname().nodename
    assert states(node) == {name: "ours"}
    away(node)
    size = 15 if name in ("10.7.0.0-28", "10.7.0.240-28") else 16
    others = [node.addresses(f"p{number}", **BLOCKS)[0] for number in range(1, size)]
    assert len({first, *others}) == size
    assert {each.rpartition("/")[2] for each in others} == {"24"}
    node.pool("CHECK", "p1", prev=node.add("p1", **BLOCKS), **BLOCKS).check()
    for number in range(size):
        node.delete(f"p{number}", **BLOCKS)
        node.delete(f"p{number}", **BLOCKS)
    with pytest.raises(CheckFailed):
        node.pool("CHECK", "p1", **BLOCKS).check()
    assert [each.name for each in folder(node, name).iterdir() if each.name[0] == "1"] == []


def test_an_address_has_the_reference_plugins_format(node: Node) -> None:
    (address,) = node.addresses("a", container="c1", **BLOCKS)
    (name,) = node.blocks()
    assert folder(node, name, address.partition("/")[0]).read_bytes() == b"c1\r\nnet1"


def test_a_repeated_add_gets_the_same_address(node: Node) -> None:
    first = node.addresses("a", **BLOCKS)
    assert node.addresses("a", **BLOCKS) == first
    assert node.addresses("a", ifname="net2", **BLOCKS) != first


def test_a_block_more_is_taken_when_all_are_full(nodes: Callable[[int], list[Node]]) -> None:
    keys = {"range": "10.7.0.0/26", "block": 30}
    one, other = nodes(2)
    found = [one.addresses(f"a{number}", **keys)[0] for number in range(20)]
    found += [other.addresses(f"b{number}", **keys)[0] for number in range(20)]
    assert len(set(found)) == 40
    # 20 of each node, in blocks of 4, of which two lack the range's first and last address.
    assert 10 <= len(one.blocks()) <= 12


def test_a_full_range_is_an_error_that_says_so(nodes: Callable[[int], list[Node]]) -> None:
    keys = {"range": "10.7.0.0/28", "block": 29}
    one, other = nodes(2)
    one.add("a", **keys)
    other.add("b", **keys)
    for number in range(6):
        other.add(f"b{number}", **keys)
    with pytest.raises(AddressesExhausted, match=r"10\.7\.0\.0/28: no address is free: nodes have"):
        other.add("more", **keys)
    assert len(one.blocks()) == 2


def test_many_at_once_take_no_more_blocks_than_they_need(
    nodes: Callable[[int], list[Node]],
) -> None:
    many = nodes(4)
    with ThreadPoolExecutor(16) as pool:
        names = [f"p{number}" for number in range(64)]
        asked = pool.map(lambda n: many[n % 4].addresses(names[n], **BLOCKS)[0], range(64))
        found = list(asked)
    assert len(set(found)) == 64
    # 16 pods of a node, and blocks of 15 or 16 addresses.
    assert 4 <= len(many[0].blocks()) <= 8


@pytest.mark.parametrize(
    ("keys", "allowed"),
    [
        ({"exclude": ["10.7.0.0/25", "10.7.0.192/26"]}, range(128, 192)),
        ({"range": "10.7.0.20-10.7.0.30/24"}, range(20, 31)),
        ({"range": "10.7.0.0/28", "block": 30, "gateway": "10.7.0.1"}, range(2, 15)),
    ],
)
def test_only_what_the_range_has_is_given_out(
    node: Node, keys: dict[str, Any], allowed: range
) -> None:
    found = set()
    with pytest.raises(AddressesExhausted):
        for number in range(70):
            found.add(int(node.addresses(f"p{number}", **{**BLOCKS, **keys})[0].split(".")[3][:-3]))
    assert found == set(allowed)


def test_ranges_of_both_families(node: Node) -> None:
    keys = {**BLOCKS, "ipRanges": [{"range": "fd00:7::/64", "block": 120}]}
    four, six = node.addresses("a", **keys)
    assert four.endswith("/24") and six.startswith("fd00:7:") and six.endswith("/64")
    assert len(node.blocks()) == 2
    node.delete("a", **keys)
    assert not any(path.name[0] in "1f" for path in Path(node.cni_dir, ".blocks").glob("*/*/*"))


def test_a_pool_and_blocks_of_one_range_refuse_each_other(
    nodes: Callable[[int], list[Node]],
) -> None:
    one, other = nodes(2)
    one.add("a", network_name="blue", **POOLED)
    with pytest.raises(InvalidConfig, match="has a pool, from which other pods have addresses"):
        other.add("b", network_name="blue", **BLOCKS)
    one.add("a", **BLOCKS)
    with pytest.raises(InvalidConfig, match="given out in blocks: 'block' is missing"):
        other.add("b", **POOLED)
    with pytest.raises(InvalidConfig, match="given out in blocks of /28, not of /29"):
        other.add("b", **{**BLOCKS, "block": 29})
    assert len(one.blocks()) == 1
    assert one.stored("overlappingrangeipreservations").keys() == {"blue-10.7.0.1"}
    other.delete("b", **POOLED)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"block": 24}, "is 24, and a block of range 10.7.0.0/24 has a prefix length of 25 to 32"),
        ({"block": 33}, "'block'"),
        ({"block": "28"}, "'block'"),
        ({"block": 28, "sticky": True}, "'sticky'"),
        ({"block": 28, "enable_overlapping_ranges": True}, "'enable_overlapping_ranges'"),
        ({"block": 28, "range": "", "ipRanges": [{"range": "10.8.0.0/16"}]}, "beside no 'range'"),
        ({"block": 28, "runtime": {"ips": ["10.7.0.9"]}}, "range with 'block', which assigns any"),
        ({"block": 28, "claim": "vm"}, "IPAMClaim default/vm cannot have an address"),
    ],
)
def test_what_blocks_cannot_do_is_refused(node: Node, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        node.add("a", **{**POOLED, **keys})
    assert said in str(caught.value)
    node.delete("a", **{**POOLED, **keys})
    assert node.blocks() == {} and node.stored("ippools") == {}


@pytest.mark.parametrize(
    ("conf", "keys", "said"),
    [
        ({"kubeconfig": "/k"}, {"sleep_for_race": 1}, "key 'sleep_for_race' of 'ipam'"),
        ({}, {}, "no 'kubeconfig'"),
    ],
)
def test_the_binary_never_serves_a_range_with_blocks(
    conf: dict[str, Any], keys: dict[str, Any], said: str
) -> None:
    config = {"type": "macvlan", "ipam": {"type": "whereabouts", **BLOCKS, **keys}}
    pool = ipam.for_plugin(Caller(conf=conf).invocation("ADD", config))
    assert pool is not None
    with pytest.raises(InvalidConfig, match=said):
        pool.add()
    pool.delete()


def test_slices_of_the_flat_file_are_refused_beside_blocks(node: Node, tmp_path: Path) -> None:
    flat = tmp_path / "whereabouts.conf"
    flat.write_text('{"node_slice_size": "/26"}')
    with pytest.raises(InvalidConfig, match=r"'node_slice_size'.* beside 'block'"):
        node.add("a", configuration_path=str(flat), **BLOCKS)


def test_a_node_that_the_api_server_lacks_gets_no_block(node: Node) -> None:
    metadata = {"name": os.uname().nodename}
    node.api.delete({"apiVersion": "v1", "kind": "Node", "metadata": metadata})
    with pytest.raises(InvalidConfig, match="has no node"):
        node.add("a", **BLOCKS)
    assert node.blocks() == {}


def test_a_lost_answer_is_not_a_lost_block(node: Node) -> None:
    node.api.faults.add(Fault("truncate", path="*addressblocks*", method="POST", times=1))
    try:
        node.add("a", **BLOCKS)
    except TryAgainLater:
        (name,) = node.blocks()
        assert states(node) == {name: "taking"}
        node.add("a", **BLOCKS)
    assert states(node) == dict.fromkeys(node.blocks(), "ours")
    assert len(node.blocks()) == 1


def test_an_api_server_that_is_away_is_asked_again_for_the_same_block(node: Node) -> None:
    node.api.faults.add(Fault("reset", path="*addressblocks", method="POST", times=0))
    for _ in range(2):
        with pytest.raises(TryAgainLater):
            node.add("a", **BLOCKS)
        (name,) = states(node)
    assert states(node) == {name: "taking"} and node.blocks() == {}
    node.api.faults.clear()
    node.add("a", **BLOCKS)
    assert states(node) == {name: "ours"} and node.blocks().keys() == {name}


def test_a_block_whose_folder_was_lost_is_not_used_again(node: Node) -> None:
    """The node does not know any more who has the addresses of it."""
    node.add("a", **BLOCKS)
    (first,) = node.blocks()
    folder(node).rename(folder(node).with_name("lost"))
    node.add("a", **BLOCKS)
    assert states(node).keys() == node.blocks().keys() - {first}
    assert len(node.blocks()) == 2


def test_a_name_that_no_folder_can_have_is_refused_and_holds_nothing(node: Node) -> None:
    keys = {
        **BLOCKS,
        "network_name": ".".join(["a" * 60] * 3),
        "range": "fd00:7::/64",
        "block": 120,
    }
    flat = Path(node.cni_dir).parent / "kubeconfig-of-the-binary"
    context = {"name": "c", "context": {"namespace": "n" * 63}}
    flat.write_text(json.dumps({"current-context": "c", "contexts": [context]}))
    with pytest.raises(IOFailure, match="File name too long"):
        node.add("a", kubernetes={"kubeconfig": str(flat)}, **keys)
    node.delete("a", kubernetes={"kubeconfig": str(flat)}, **keys)
