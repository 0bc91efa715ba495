"""A node gives out addresses of a block only while the API server says that it has the block."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from multus_ipam_whereabouts import blockreturning, blockstrays, blocktaking, objects
from multus_ipam_whereabouts.nodeblocks import CONFIRMED, OURS, RETURNING, Folder
from waiting import eventually

from integration.whereabouts.cluster import Node
from integration.whereabouts.test_block_return import delete, home, states, upkeep
from integration.whereabouts.test_borrowing import by_hand, changed, node_api, seen
from multus.api.conf import Conf
from multus.api.errors import AddressesExhausted, InvalidConfig, TryAgainLater
from multus.api.session import Session
from multus.kube.nodeapi import NodeApi
from multus.log import Log
from multus.testing.apiserver import Fault

BLOCKS: dict[str, Any] = {"range": "10.7.0.0/24", "block": 28}
HERE = os.uname().nodename


@pytest.fixture(autouse=True)
def registered(node: Node) -> None:
    node.register()


@pytest.fixture
def watching(node: Node) -> Iterator[NodeApi]:
    with node_api(node, HERE) as found:
        yield found


def was_away(node: Node) -> None:
    """No daemon has heard for a while whose the node's blocks are."""
    old = time.time() - 2 * CONFIRMED
    for path in Path(node.cni_dir).glob(".blocks/*/*/block"):
        os.utime(path, (old, old))


@contextmanager
def called(node: Node, name: str) -> Iterator[Session]:
    """Calls on a node of this name."""
    with node_api(node, name) as api, Session(Log.from_conf({"logLevel": "panic"}), api=api) as one:
        yield one


def network(node: Node) -> list[str]:
    return [block.network for each in home(node).folders() if (block := each.read())]


def test_a_block_that_was_freed_while_the_daemon_was_away_is_not_used(
    nodes: Callable[[int], list[Node]],
) -> None:
    one, other = nodes(2)
    (before,) = one.addresses("a", **BLOCKS)
    ((name, _),) = one.blocks().items()
    delete(one, name)
    (theirs,) = other.addresses("b", **BLOCKS)
    assert one.blocks().keys() == {name}
    was_away(one)
    (mine,) = one.addresses("c", **BLOCKS)
    assert mine not in (before, theirs)
    assert sorted(states(one)) == [OURS, RETURNING] and len(one.blocks()) == 2


@pytest.mark.parametrize("kind", ["reset", "status"])
def test_without_an_answer_it_is_not_used_either(node: Node, kind: str) -> None:
    node.add("a", **BLOCKS)
    was_away(node)
    node.api.faults.add(Fault(kind, path="*addressblocks*", times=0, code=503))
    for _ in range(2):
        with pytest.raises(TryAgainLater):
            node.add("b", **BLOCKS)
    node.api.faults.clear()
    node.add("b", **BLOCKS)
    assert len(node.blocks()) == 1
    assert states(node) == [OURS]
    node.api.faults.add(Fault("reset", times=0))
    node.add("c", **BLOCKS)


def test_a_daemon_hears_whose_the_blocks_are_and_its_adds_ask_nothing(
    node: Node, watching: NodeApi
) -> None:
    node.add("a", **BLOCKS)
    was_away(node)
    for _ in range(50):
        upkeep(node, watching)
        if all(folder.is_confirmed for folder in home(node).folders()):
            break
        time.sleep(0.02)
    node.api.faults.add(Fault("reset", times=0))
    node.add("b", **BLOCKS)


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
def test_a_clock_that_jumps_makes_a_node_ask(node: Node, seconds: float) -> None:
    node.add("a", **BLOCKS)
    jumped = time.time() - seconds
    (folder,) = home(node).folders()
    os.utime(f"{folder.path}/block", (jumped, jumped))
    assert [folder.is_confirmed] == [False]
    node.add("b", **BLOCKS)
    assert [folder.is_confirmed] == [True]
    assert len(node.blocks()) == 1


def test_a_copy_of_a_node_has_no_block_and_frees_none(
    node: Node, nodes: Callable[[int], list[Node]], tmp_path: Path
) -> None:
    """A machine's image that has been used before."""
    (first,) = node.addresses("a", **BLOCKS)
    (copy,) = nodes(1)
    shutil.copytree(node.cni_dir, copy.cni_dir)
    was_away(copy)
    node.register("n9")
    with called(node, "n9") as session:
        (other,) = copy.addresses("b", session=session, **BLOCKS)
        assert other != first and len(node.blocks()) == 2
    before = node.blocks()
    with node_api(copy, "n9") as api:
        for _ in range(2):
            upkeep(copy, api)
        copy.delete("a", **BLOCKS)
        upkeep(copy, api)
    assert before.items() <= node.blocks().items() and len(states(copy)) == 1
    assert node.addresses("a", **BLOCKS) == [first]


def test_a_node_of_another_name_gives_out_no_address_of_the_old_ones_block(
    node: Node, watching: NodeApi
) -> None:
    (first,) = node.addresses("a", **BLOCKS)
    (old,) = network(node)
    node.register("n9")
    with node_api(node, "n9") as api:
        for _ in range(2):
            upkeep(node, api)
    assert states(node) == [RETURNING]
    with called(node, "n9") as session:
        (other,) = node.addresses("b", session=session, **BLOCKS)
    assert other != first and len(node.blocks()) == 2 and old in network(node)


def test_a_block_that_names_another_node_is_not_used(node: Node, watching: NodeApi) -> None:
    node.add("a", **BLOCKS)
    (name,) = node.blocks()
    changed(node, "addressblocks", "ipam.multus", name, {"spec": {"node": "nowhere"}})
    for _ in range(100):
        upkeep(node, watching)
        if states(node) == [RETURNING]:
            break
        time.sleep(0.02)
    node.add("b", **BLOCKS)
    assert sorted(states(node)) == [OURS, RETURNING]
    node.delete("a", **BLOCKS)
    upkeep(node, watching)
    assert node.blocks().keys() >= {name}


def test_a_pool_is_not_made_beside_blocks(node: Node, nodes: Callable[[int], list[Node]]) -> None:
    (other,) = nodes(1)
    node.add("a", **BLOCKS)
    pool = {"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool"}
    node.api.delete({**pool, "metadata": {"name": "10.7.0.0-24", "namespace": "kube-system"}})
    for _ in range(2):
        with pytest.raises(InvalidConfig, match="is given out in blocks: nodes have 1 of them"):
            other.add("b", range="10.7.0.0/24")
        other.delete("b", range="10.7.0.0/24")
    other.add("b", range="10.7.0.0/24", network_name="blue")
    assert node.allocations() == {}
    for number in range(20):
        other.add(f"c{number}", **BLOCKS)
    with pytest.raises(InvalidConfig, match="given out in blocks: 'block' is missing"):
        other.add("b", range="10.7.0.0/24")


def test_an_empty_pool_is_given_out_in_blocks(node: Node) -> None:
    node.add("a", range="10.7.0.0/24")
    with pytest.raises(InvalidConfig, match="has a pool, from which other pods have addresses"):
        node.add("b", **BLOCKS)
    node.delete("a", range="10.7.0.0/24")
    node.add("b", **BLOCKS)
    with pytest.raises(InvalidConfig, match="given out in blocks: 'block' is missing"):
        node.add("a", range="10.7.0.0/24")


def test_a_node_does_not_borrow_what_its_lost_block_has_given_to_a_pod(
    nodes: Callable[[int], list[Node]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocktaking, "_PATIENCE", 0.0)
    keys = {"range": "10.7.0.0/28", "block": 29, "exclude": ["10.7.0.8/29"]}
    one, other = nodes(2)
    (mine,) = one.addresses("a", **keys)
    (lost,) = one.blocks()
    delete(one, lost)
    other.add("b0", **keys)
    was_away(one)
    by_hand(one, lost, lent={mine.partition("/")[0]: {"node": "", "store": ""}})
    with pytest.raises(AddressesExhausted, match=f"this node has lost address block .*/{lost}"):
        one.add("c", **keys)


def test_a_block_whose_folder_is_lost_is_named(
    node: Node, watching: NodeApi, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(blockstrays, "_SOON", 0.0)
    monkeypatch.setattr(blockstrays, "_looks", {})
    node.add("a", **BLOCKS)
    (name,) = node.blocks()
    eventually(lambda: seen(node, watching, objects.pool("kube-system", "10.7.0.0/24", "")))
    shutil.rmtree(node.cni_dir)
    conf = Conf.from_wire({"name": "multus", "type": "multus", "cniDir": node.cni_dir})
    log = Log.from_conf({"logLevel": "error"})
    deadline = time.monotonic() + 10.0
    said = ""
    while "release" not in said and time.monotonic() < deadline:
        with Session(log, api=watching) as session:
            blockreturning.upkeep(conf, session, 0.0)
        said += capfd.readouterr().err
    text = name.replace("-28", "/28")
    assert f"this node has {text}, and nothing in {node.cni_dir} says" in said
    assert f"'multus ipam release --force {text}' frees them" in said


def test_an_address_of_a_block_is_not_released_by_itself(
    node: Node, ipam: Callable[..., tuple[int, str]]
) -> None:
    address = node.addresses("a", **BLOCKS)[0].partition("/")[0]
    (name,) = node.blocks()
    status, said = ipam("release", address)
    text = name.replace("-28", "/28")
    assert (
        status == 1 and f"{address} is in block {text} of node {HERE}: only the node knows" in said
    )


def test_a_folder_of_an_earlier_release_is_asked_for_once(tmp_path: Path) -> None:
    assert not Folder(str(tmp_path)).is_confirmed
