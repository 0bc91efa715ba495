"""Blocks that are empty are returned, whatever is killed; those that were lost are not used."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from multus_ipam_whereabouts import blockreturning, objects
from multus_ipam_whereabouts.nodeblocks import RETURNING, TAKING, Home
from waiting import eventually

from integration.whereabouts.cluster import Node
from integration.whereabouts.test_reconcile import daemon_of
from multus.api.conf import Conf
from multus.api.errors import TryAgainLater
from multus.api.session import Session
from multus.daemon.settings import Settings
from multus.daemon.upkeep import Upkeep
from multus.kube.kubeconfig import load_kubeconfig
from multus.kube.nodeapi import NodeApi
from multus.log import Log
from multus.registry.index import discover
from multus.registry.loading import load
from multus.testing.apiserver import Fault

BLOCKS: dict[str, Any] = {"range": "10.7.0.0/24", "block": 28}
CACHED = {use.resource: use.cached for use in objects.uses() if use.cached}


@pytest.fixture(autouse=True)
def registered(node: Node) -> None:
    node.register()


@pytest.fixture
def watching(node: Node) -> Iterator[NodeApi]:
    """A daemon's API process of this node, with the blocks in its cache."""
    found = NodeApi(load_kubeconfig(node.kubeconfig), os.uname().nodename, CACHED)
    found.start()
    eventually(lambda: all(state.synced for state in found.states()))
    yield found
    found.close()


def upkeep(
    node: Node, api: NodeApi, grace: float = 0.0, kubeconfig: str = "", seconds: float = 4.0
) -> None:
    """One round of the daemon, which has so many *seconds*."""
    raw = {"name": "multus", "type": "multus", "cniDir": node.cni_dir}
    conf = Conf.from_wire({**raw, **({"kubeconfig": kubeconfig} if kubeconfig else {})})
    log, deadline = Log.from_conf({"logLevel": "panic"}), time.monotonic() + seconds
    with Session(log, api=api, deadline=deadline) as session:
        blockreturning.upkeep(conf, session, grace)


def home(node: Node) -> Home:
    return Home.of(node.cni_dir, objects.pool("kube-system", "10.7.0.0/24", ""))


def states(node: Node) -> list[str]:
    return [block.state for each in home(node).folders() if (block := each.read())]


def delete(node: Node, name: str) -> None:
    spec = {"kind": "AddressBlock", "apiVersion": "ipam.multus/v1alpha1"}
    node.api.delete({**spec, "metadata": {"name": name, "namespace": "kube-system"}})


def test_an_empty_block_is_returned_after_the_grace(node: Node, watching: NodeApi) -> None:
    node.add("a", **BLOCKS)
    upkeep(node, watching)
    assert states(node) == ["ours"]
    node.delete("a", **BLOCKS)
    upkeep(node, watching, grace=60.0)
    assert states(node) == ["ours"] and len(node.blocks()) == 1
    upkeep(node, watching)
    assert home(node).folders() == [] and node.blocks() == {}
    node.delete("a", **BLOCKS)
    node.add("a", **BLOCKS)
    assert states(node) == ["ours"] and len(node.blocks()) == 1


def test_a_round_without_work_asks_the_api_server_for_nothing(
    node: Node, watching: NodeApi
) -> None:
    node.add("a", **BLOCKS)
    eventually(lambda: len(watching.caches[objects.BLOCKS].follower) == 1)
    node.api.requests.clear()
    for _ in range(3):
        upkeep(node, watching)
    assert sum(node.api.requests.values()) == 0


def test_without_a_watch_the_api_server_is_asked_seldom(node: Node) -> None:
    """It may be overloaded, and all nodes ask."""
    api = NodeApi(load_kubeconfig(node.kubeconfig), os.uname().nodename, CACHED)
    node.add("a", **BLOCKS)
    node.api.requests.clear()
    for _ in range(5):
        upkeep(node, api)
    assert sum(node.api.requests.values()) == 1
    api.close()


@pytest.mark.parametrize("kind", ["reset", "truncate"])
def test_a_return_goes_on_where_it_ended(node: Node, watching: NodeApi, kind: str) -> None:
    """The object is there still, or not; the node does not know."""
    node.add("a", **BLOCKS)
    node.delete("a", **BLOCKS)
    node.api.faults.add(Fault(kind, path="*addressblocks/*", method="DELETE", times=0))
    with suppress(TryAgainLater):
        upkeep(node, watching)
    assert (node.blocks() == {}) == (kind == "truncate")
    node.api.faults.clear()
    node.add("b", **BLOCKS)
    upkeep(node, watching)
    assert states(node) == ["ours"] and len(node.blocks()) == 1


def test_no_address_of_a_block_that_is_marked_is_given_out(node: Node, watching: NodeApi) -> None:
    node.add("a", **BLOCKS)
    node.delete("a", **BLOCKS)
    (folder,) = home(node).folders()
    block = folder.read()
    assert block is not None
    folder.write(block._replace(state=RETURNING))
    node.add("b", **BLOCKS)
    assert sorted(states(node)) == ["ours", "returning"]
    upkeep(node, watching)
    assert states(node) == ["ours"] and len(node.blocks()) == 1


def test_what_a_killed_taking_left_is_given_up(node: Node, watching: NodeApi) -> None:
    node.add("a", **BLOCKS)
    node.delete("a", **BLOCKS)
    (folder,) = home(node).folders()
    block = folder.read()
    assert block is not None
    folder.write(block._replace(state=TAKING))
    empty = Path(home(node).path, "10.7.0.64-28")
    empty.mkdir()
    upkeep(node, watching)
    assert states(node) == [TAKING] and empty.exists()
    old = time.time() - 3600.0  # no request of the process that was killed is under way any more
    for each in (empty, folder.path):
        os.utime(each, (old, old))
    upkeep(node, watching)
    assert home(node).folders() == [] and node.blocks() == {}


def test_a_clock_that_was_set_back_ends_no_grace(node: Node, watching: NodeApi) -> None:
    node.add("a", **BLOCKS)
    node.delete("a", **BLOCKS)
    (folder,) = home(node).folders()
    late = time.time() + 3600.0
    os.utime(folder.path, (late, late))
    upkeep(node, watching, grace=60.0)
    assert states(node) == ["ours"] and 0.0 <= folder.idle < 60.0


def test_a_lock_that_an_add_holds_is_no_failure(node: Node, watching: NodeApi) -> None:
    node.add("a", **BLOCKS)
    node.delete("a", **BLOCKS)
    (folder,) = home(node).folders()
    with folder.store.locked(create=False):
        upkeep(node, watching)
    assert states(node) == ["ours"]


def test_a_block_that_was_released_by_hand_is_not_used_any_more(
    node: Node, watching: NodeApi
) -> None:
    node.add("a", **BLOCKS)
    (name,) = node.blocks()
    eventually(lambda: len(watching.caches[objects.BLOCKS].follower) == 1)
    delete(node, name)
    eventually(lambda: not len(watching.caches[objects.BLOCKS].follower))
    upkeep(node, watching)
    assert states(node) == [RETURNING]
    node.add("b", **BLOCKS)
    assert node.blocks().keys().isdisjoint({name}) and len(node.blocks()) == 1
    upkeep(node, watching)
    assert sorted(states(node)) == ["ours", RETURNING]
    node.delete("a", **BLOCKS)
    upkeep(node, watching)
    assert states(node) == ["ours"] and len(node.blocks()) == 1


def test_a_block_that_another_node_has_by_now_is_left_to_it(
    node: Node, nodes: Callable[[int], list[Node]], watching: NodeApi
) -> None:
    node.add("a", **BLOCKS)
    ((name, _),) = node.blocks().items()
    delete(node, name)
    (other,) = nodes(1)
    other.add("b", **BLOCKS)
    taken = node.blocks()
    assert taken.keys() == {name}
    eventually(lambda: len(watching.caches[objects.BLOCKS].follower) == 1)
    for _ in range(2):
        upkeep(node, watching)
    node.delete("a", **BLOCKS)
    upkeep(node, watching)
    assert home(node).folders() == [] and node.blocks() == taken


def test_an_add_at_the_same_time_wins_or_takes_another_block(node: Node, watching: NodeApi) -> None:
    stop, errors = threading.Event(), list[BaseException]()

    def returning() -> None:
        while not stop.is_set():
            try:
                upkeep(node, watching)
            except TryAgainLater:
                continue  # an ADD held a lock
            except BaseException as error:  # noqa: BLE001  the test's own thread tells it
                errors.append(error)

    thread = threading.Thread(target=returning)
    thread.start()
    try:
        for number in range(40):
            (address,) = node.addresses("a", container=f"c{number}", **BLOCKS)
            held = [each.name for each in Path(home(node).path).glob("*/10.*") if each.is_file()]
            assert held == [address.partition("/")[0]]
            node.delete("a", container=f"c{number}", **BLOCKS)
    finally:
        stop.set()
        thread.join()
    assert errors == []
    upkeep(node, watching)
    assert node.blocks() == {}


def test_blocks_of_another_api_server_are_left_alone(node: Node, watching: NodeApi) -> None:
    node.add("a", **BLOCKS)
    node.delete("a", **BLOCKS)
    upkeep(node, watching, kubeconfig="/other")
    assert states(node) == ["ours"]
    upkeep(node, watching, kubeconfig=node.kubeconfig)
    assert states(node) == []


def test_a_damaged_folder_does_not_keep_the_others_from_their_return(
    node: Node, watching: NodeApi
) -> None:
    node.add("a", **BLOCKS)
    node.delete("a", **BLOCKS)
    odd = Path(home(node).path, "10.7.0.0-28.odd")
    odd.mkdir()
    (odd / "block").write_text("{}")
    with pytest.raises(Exception, match="is damaged"):
        upkeep(node, watching)
    assert node.blocks() == {}


def test_a_damaged_folder_does_not_keep_an_address_of_another_from_being_given_out(
    node: Node,
) -> None:
    node.add("a", **BLOCKS)
    odd = Path(home(node).path, "10.7.0.0-28.odd")
    odd.mkdir()
    (odd / "block").write_text("{}")
    node.add("b", **BLOCKS)


def test_the_daemons_thread_returns_them(node: Node, watching: NodeApi) -> None:
    node.add("a", **BLOCKS)
    node.delete("a", **BLOCKS)
    settings = Settings.of({"cniDir": node.cni_dir, "healGraceSeconds": 0}, "the test", {})
    log = Log.from_conf({"logLevel": "panic"})
    folders, apis = (lambda: [node.cni_dir]), (lambda: [("", watching)])
    thread = Upkeep(settings, load(discover()).hooks, folders, apis, log)
    thread.start()
    eventually(lambda: node.blocks() == {})
    thread.close()


# --- Nodes that are gone --------------------------------------------------------------------------


def gone(node: Node, name: str = "n9") -> NodeApi:
    """A node takes a block, and is gone."""
    node.register(name)
    api = NodeApi(load_kubeconfig(node.kubeconfig), name, {})
    node.add("a", session=Session(Log.from_conf({"logLevel": "panic"}), api=api), **BLOCKS)
    node.api.delete({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    return api


def test_the_holder_of_the_lease_frees_blocks_of_nodes_that_are_gone(node: Node) -> None:
    gone(node)
    daemon = daemon_of(node, "n1")
    daemon.look()
    assert len(node.blocks()) == 1
    time.sleep(0.01)
    daemon.look()
    assert node.blocks() == {}


@pytest.mark.parametrize("back", ["node", "pod"])
def test_a_node_that_is_back_or_has_pods_keeps_its_blocks(node: Node, back: str) -> None:
    gone(node)
    daemon = daemon_of(node, "n1")
    daemon.look()
    time.sleep(0.01)
    if back == "node":
        node.register("n9")
    else:
        node.api.create_pod("late", node="n9")
    daemon.look()
    assert len(node.blocks()) == 1


def test_a_block_that_was_taken_again_since_the_first_look_stays(node: Node) -> None:
    gone(node)
    daemon = daemon_of(node, "n1")
    daemon.look()
    (name,) = node.blocks()
    delete(node, name)
    Path(node.cni_dir).rename(f"{node.cni_dir}.gone")
    gone(node)
    time.sleep(0.01)
    daemon.look()
    assert node.blocks().keys() == {name}


def test_blocks_are_shown_listed_and_released(
    node: Node, ipam: Callable[..., tuple[int, str]]
) -> None:
    node.add("b", **BLOCKS)
    node.add("c", range="10.9.0.0/24")
    node.api.create_pod("c")
    status, said = ipam("status")
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert status == 0 and "1 of 16 blocks of /28, 6%" in lines[0], said
    ranges = json.loads(ipam("list", "--json")[1])
    (name,) = node.blocks()
    text = name.replace("-28", "/28")
    here = os.uname().nodename
    assert ranges[0]["unit"] == "blocks of /28"
    assert [(each["address"], each["owner"]) for each in ranges[0]["allocations"]] == [
        (text, f"node {here}")
    ]
    status, said = ipam("release", text)
    assert status == 1 and f"{text} is in use by node {here}" in said
    assert ipam("reconcile", "--grace", "0.1")[0] == 0
    assert len(node.blocks()) == 1
    node.api.delete({"apiVersion": "v1", "kind": "Node", "metadata": {"name": here}})
    status, said = ipam("reconcile", "--dry-run")
    assert f"would free {text} of 10.7.0.0/24, node {here}: node {here} does not exist" in said
    assert ipam("reconcile", "--grace", "0.1")[0] == 0
    assert node.blocks() == {}
