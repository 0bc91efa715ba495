"""A full range of blocks: nodes that have free addresses lend them to others."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from multus_ipam_whereabouts import blocklending, blocktaking, objects
from multus_ipam_whereabouts.nodeblocks import OURS, RETURNING, Block, Home
from waiting import eventually

from integration.whereabouts.cluster import Node
from integration.whereabouts.test_block_return import CACHED, upkeep
from integration.whereabouts.test_reconcile import daemon_of
from multus.api.errors import AddressesExhausted, TryAgainLater
from multus.api.kubernetes import Deadline, Edit, ObjectRef
from multus.api.session import Session
from multus.daemon.reconciling import Reconciling
from multus.kube.kubeconfig import load_kubeconfig
from multus.kube.nodeapi import NodeApi
from multus.log import Log
from multus.testing.apiserver import Fault
from multus.testing.apiserver.store import merge_patch

#: Two blocks: 10.7.0.1 to 10.7.0.7, and 10.7.0.8 to 10.7.0.14.
KEYS: dict[str, Any] = {"range": "10.7.0.0/28", "block": 29}
POOL = objects.pool("kube-system", "10.7.0.0/28", "")


@pytest.fixture(autouse=True)
def fresh(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.register()
    monkeypatch.setattr(blocklending, "_demands", {})
    monkeypatch.setattr(blocklending, "_revisions", {})
    monkeypatch.setattr(blocktaking, "_EVERY", 0)


@pytest.fixture
def watching(node: Node) -> Iterator[NodeApi]:
    """A daemon's API process, with the blocks and pools in its cache."""
    with node_api(node, os.uname().nodename) as found:
        yield found


@contextmanager
def node_api(node: Node, name: str) -> Iterator[NodeApi]:
    found = NodeApi(load_kubeconfig(node.kubeconfig), name, CACHED)
    found.start()
    eventually(lambda: all(state.synced for state in found.states()))
    yield found
    found.close()


@contextmanager
def daemon(node: Node, api: NodeApi) -> Iterator[None]:
    """Rounds of upkeep, one after the other."""
    stop = threading.Event()

    def rounds() -> None:
        while not stop.wait(0.05):
            try:
                upkeep(node, api, grace=3600.0)
            except TryAgainLater:
                continue  # an ADD held a lock

    thread = threading.Thread(target=rounds)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def home(node: Node) -> Home:
    return Home.of(node.cni_dir, POOL)


def states(node: Node) -> list[str]:
    return [block.state for each in home(node).folders() if (block := each.read())]


def kept(node: Node) -> set[str]:
    """The addresses that a node's folders have as lent."""
    every = [block for each in home(node).folders() if (block := each.read())]
    return {text for each in every for text in each.lent.split()}


def lent(node: Node) -> dict[str, str]:
    """The addresses that are lent by the objects, and the store that has each."""
    found = node.stored("addressblocks", "ipam.multus").values()
    every = [each["spec"].get("lent", {}) for each in found]
    return {text: holder["store"] for each in every for text, holder in each.items()}


def want(api: NodeApi) -> None:
    """Another node wants an address."""
    now = int(annotation(api) or "0") + 1
    edit = Edit(POOL, "multus_ipam_whereabouts.pool:want", {"now": now, "every": 0})
    assert api.edit(edit, Deadline.after(5.0))
    eventually(lambda: annotation(api) == str(now))


def annotation(api: NodeApi) -> str:
    metadata = api.get(POOL, Deadline.after(5.0))["metadata"]
    return str((metadata.get("annotations") or {}).get("ipam.multus/wanted", ""))


def full(lender: Node, other: Node) -> None:
    """The *other* node has no free address, and one pod has one of the *lender*."""
    lender.add("a", **KEYS)
    for number in range(7):
        other.add(f"b{number}", **KEYS)


def offering(node: Node, api: NodeApi, seconds: float = 4.0) -> None:
    """Have the node lend what is free of its blocks."""
    eventually(lambda: seen(node, api))
    upkeep(node, api, grace=3600.0)  # a daemon that starts takes the last wish for an old one
    want(api)
    eventually(lambda: seen(node, api))
    upkeep(node, api, grace=3600.0, seconds=seconds)
    eventually(lambda: seen(node, api))


def refs(node: Node) -> list[Any]:
    return [objects.BLOCKS.object("kube-system", name) for name in node.blocks()]


def seen(node: Node, api: NodeApi, pool: ObjectRef = POOL) -> bool:
    """Whether the watch has what the objects are."""
    wanted, deadline = refs(node), Deadline.after(1.0)
    stored = [each["spec"] for each in node.stored("addressblocks", "ipam.multus").values()]
    cached = [each["spec"] for each in api.get_each(wanted, deadline) if isinstance(each, dict)]
    return cached == stored and not api.lacking([*wanted, pool], deadline)


def test_a_pod_on_a_full_range_gets_an_address_that_another_node_lends(
    nodes: Callable[[int], list[Node]], watching: NodeApi
) -> None:
    one, other = nodes(2)
    first = one.addresses("a", **KEYS)
    found = [other.addresses(f"b{number}", **KEYS)[0] for number in range(7)]
    eventually(lambda: seen(one, watching))
    upkeep(one, watching, grace=3600.0)
    with daemon(one, watching):
        found += [other.addresses(f"c{number}", **KEYS)[0] for number in range(6)]
        with pytest.raises(AddressesExhausted, match="have all its blocks of /29, and none lends"):
            other.add("d", **KEYS)
    assert len({*first, *found}) == 14
    assert len(one.blocks()) == 2
    for number in range(6):
        other.pool("CHECK", f"c{number}", prev=other.add(f"c{number}", **KEYS), **KEYS).check()


def test_nodes_that_all_want_one_get_each_its_own(
    nodes: Callable[[int], list[Node]], watching: NodeApi
) -> None:
    lender, full, *others = nodes(6)
    for each in (lender, full):
        each.add("a", **KEYS)
    for number in range(6):
        full.add(f"b{number}", **KEYS)
    offering(lender, watching)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda each: each.addresses("c", **KEYS)[0], others))
    assert len(set(found)) == 4


def test_an_address_that_is_on_offer_is_not_given_to_an_own_pod_without_borrowing_it(
    node: Node, watching: NodeApi
) -> None:
    """The node of the block is one of those that may borrow."""
    keys = {"range": "10.7.0.0/28", "block": 29, "exclude": ["10.7.0.8/29"]}
    (first,) = node.addresses("a", **keys)
    offering(node, watching)
    assert len(kept(node)) == 6 and kept(node) == set(lent(node))
    (second,) = node.addresses("b", **keys)
    assert lent(node)[second.partition("/")[0]] and first != second
    assert states(node) == [OURS, OURS]


def test_a_round_without_a_change_writes_nothing(node: Node, watching: NodeApi) -> None:
    node.add("a", **KEYS)
    offering(node, watching)
    node.api.requests.clear()
    for _ in range(3):
        upkeep(node, watching, grace=3600.0)
    assert sum(node.api.requests.values()) == 0


def test_what_nobody_borrowed_is_taken_back(
    node: Node, nodes: Callable[[int], list[Node]], watching: NodeApi, monkeypatch: Any
) -> None:
    (other,) = nodes(1)
    node.add("a", **KEYS)
    for number in range(8):
        if number == 7:
            offering(node, watching)
        other.add(f"b{number}", **KEYS)
    (borrowed,) = (text for text, store in lent(node).items() if store)
    eventually(lambda: seen(node, watching))
    over(monkeypatch)
    upkeep(node, watching, grace=3600.0)
    assert kept(node) == set(lent(node)) == {borrowed}
    for number in range(5):
        assert node.addresses(f"c{number}", **KEYS)[0].partition("/")[0] != borrowed
    other.delete("b7", **KEYS)
    upkeep(other, watching)
    assert [each.name for each in home(other).folders()] == [
        name for name in other.blocks() if name != home(node).folders()[0].name
    ]
    eventually(lambda: seen(node, watching))
    upkeep(node, watching, grace=3600.0)
    assert kept(node) == set() and lent(node) == {}


def over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has wanted an address for a while."""
    old = {place: wish._replace(until=0.0) for place, wish in blocklending._demands.items()}
    monkeypatch.setattr(blocklending, "_demands", old)


def test_a_wish_from_before_the_daemon_started_is_an_old_one(
    node: Node, watching: NodeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.add("a", **KEYS)
    offering(node, watching)
    assert len(kept(node)) == 6
    monkeypatch.setattr(blocklending, "_demands", {})
    upkeep(node, watching, grace=3600.0)
    assert kept(node) == set() and set(lent(node)) == set()


@pytest.mark.parametrize("kind", ["reset", "truncate"])
def test_an_offer_that_failed_is_repeated_or_taken_back_by_a_write(
    node: Node, watching: NodeApi, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The node does not know whether others have seen it."""
    node.add("a", **KEYS)
    node.api.faults.add(Fault(kind, path="*addressblocks/*", method="PATCH", times=0))
    with pytest.raises(TryAgainLater):
        offering(node, watching, seconds=0.5)
    assert len(kept(node)) == 6
    assert len(lent(node)) == (6 if kind == "truncate" else 0)
    over(monkeypatch)
    with pytest.raises(TryAgainLater):
        upkeep(node, watching, grace=3600.0, seconds=0.5)
    assert len(kept(node)) == 6
    node.api.faults.clear()
    eventually(lambda: seen(node, watching))
    before = revision(node)
    upkeep(node, watching, grace=3600.0)
    assert kept(node) == set() and lent(node) == {}
    assert revision(node) > before


def test_without_the_right_to_lend_nothing_is_kept_from_own_pods(
    node: Node, watching: NodeApi
) -> None:
    node.add("a", **KEYS)
    fault = Fault("status", path="*addressblocks/*", method="PATCH", times=0, code=403)
    node.api.faults.add(fault)
    with pytest.raises(TryAgainLater, match="403"):
        offering(node, watching)
    assert kept(node) == set()


def revision(node: Node, name: str = "") -> int:
    found = node.stored("addressblocks", "ipam.multus")
    return int(found[name or next(iter(found))]["spec"].get("revision", 0))


def test_a_lost_answer_is_not_a_lost_address(
    nodes: Callable[[int], list[Node]], watching: NodeApi
) -> None:
    lender, other = nodes(2)
    full(lender, other)
    offering(lender, watching)
    lender.api.faults.add(Fault("truncate", path="*addressblocks/*", method="PATCH", times=1))
    with suppress(TryAgainLater):
        other.add("c", **KEYS)
    other.add("c", **KEYS)
    assert len([text for text, store in lent(lender).items() if store]) == 1
    assert states(other) == [OURS, OURS]


def test_a_block_that_is_given_back_while_others_borrow_is_nobodys(
    nodes: Callable[[int], list[Node]], watching: NodeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocktaking, "_PATIENCE", 0.0)
    lender, other, third = nodes(3)
    full(lender, other)
    offering(lender, watching)
    other.add("c", **KEYS)
    lender.delete("a", **KEYS)
    eventually(lambda: seen(lender, watching))
    upkeep(lender, watching)
    assert home(lender).folders() == [] and sorted(map(bool, lender.blocks().values())) == [0, 1]
    found = [third.addresses(f"d{number}", **KEYS)[0] for number in range(6)]
    assert len(set(found)) == 6
    with pytest.raises(AddressesExhausted):
        third.add("e", **KEYS)
    for number in range(6):
        third.delete(f"d{number}", **KEYS)
    upkeep(third, watching)
    assert home(third).folders() == [] and len(lender.blocks()) == 2
    other.delete("c", **KEYS)
    upkeep(other, watching)
    assert [bool(store) for store in lender.blocks().values()] == [True]
    third.add("e", **KEYS)


def test_a_borrowed_address_that_was_released_is_not_given_out_any_more(
    nodes: Callable[[int], list[Node]],
    watching: NodeApi,
    ipam: Callable[..., tuple[int, str]],
) -> None:
    lender, other = nodes(2)
    full(lender, other)
    offering(lender, watching)
    address = other.addresses("c", **KEYS)[0].partition("/")[0]
    status, said = ipam("status")
    assert status == 1 and "2 of 2 blocks of /29, 100%" in " ".join(said.split()), said
    listed = json.loads(ipam("list", "--json")[1])[0]["allocations"]
    found = [each["address"] for each in listed]
    assert [each for each in found if "/" in each] == ["10.7.0.0/29", "10.7.0.8/29"]
    block = lender.blocks().keys() & {folder.name for folder in home(lender).folders()}
    assert found.index(address) == found.index(block.pop().replace("-29", "/29")) + 1
    status, said = ipam("release", address)
    assert status == 1 and f"{address} is in use by node {os.uname().nodename}" in said
    assert ipam("release", "--force", address)[0] == 0
    eventually(lambda: seen(lender, watching))
    upkeep(other, watching, grace=3600.0)
    assert sorted(states(other)) == [OURS, RETURNING]
    other.delete("c", **KEYS)
    upkeep(other, watching, grace=3600.0)
    assert states(other) == [OURS] and lent(lender)[address] == ""


@pytest.mark.parametrize("gone", ["lender", "borrower"])
def test_what_a_node_that_is_gone_had_is_freed(
    nodes: Callable[[int], list[Node]], watching: NodeApi, gone: str
) -> None:
    lender, full, borrower = nodes(3)
    quiet = Log.from_conf({"logLevel": "panic"})
    with node_api(lender, "n9") as api:
        lender.register("n9")
        other = Session(quiet, api=api)
        sessions = {"lender": {}, "borrower": {}, gone: {"session": other}}
        lender.add("a", **sessions["lender"], **KEYS)
        for number in range(7):
            full.add(f"b{number}", **KEYS)
        offering(lender, api if gone == "lender" else watching)
        borrower.add("c", **sessions["borrower"], **KEYS)
    metadata = {"name": "n9"}
    lender.api.delete({"apiVersion": "v1", "kind": "Node", "metadata": metadata})
    looking = daemon_of(lender, "n1")
    looking.look()
    assert [text for text, store in lent(lender).items() if store]
    eventually(lambda: freed(looking, lender, gone))
    if gone == "lender":
        third = Node(lender.api, lender.kubeconfig, f"{lender.cni_dir}.third")
        third.add("d", **KEYS)


def freed(looking: Reconciling, lender: Node, gone: str) -> bool:
    looking.look()
    if gone == "borrower":
        return not [text for text, store in lent(lender).items() if store]
    return sorted(map(bool, lender.blocks().values())) == [False, True]


def test_the_gateway_is_never_lent(node: Node, watching: NodeApi) -> None:
    keys = {**KEYS, "gateway": "10.7.0.1", "exclude": ["10.7.0.8/29", "10.7.0.7"]}
    node.add("a", **keys)
    offering(node, watching)
    assert kept(node) | {"10.7.0.2"} == {f"10.7.0.{number}" for number in range(2, 7)}


def test_a_wish_is_said_once_in_a_while(
    node: Node, nodes: Callable[[int], list[Node]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocktaking, "_PATIENCE", 0.0)
    monkeypatch.setattr(blocktaking, "_EVERY", 60)
    (other,) = nodes(1)
    for number in range(7):
        node.add(f"a{number}", **KEYS)
        other.add(f"b{number}", **KEYS)
    for each in (node, other, node):
        with pytest.raises(AddressesExhausted):
            each.add("more", **KEYS)
    assert node.requests("PATCH") == 1
    assert Path(home(node).path).exists() and states(node) == [OURS]


def test_blocks_of_a_release_before_lending_are_read(node: Node, watching: NodeApi) -> None:
    node.add("a", **KEYS)
    (folder,) = home(node).folders()
    block = folder.read()
    assert block is not None
    old = {key: getattr(block, key) for key in Block._fields if key not in Block._field_defaults}
    Path(folder.path, "block").write_text(json.dumps(old))
    offering(node, watching)
    assert kept(node) == set() and node.addresses("b", **KEYS)


def test_ipv6_addresses_are_lent_too(
    nodes: Callable[[int], list[Node]], watching: NodeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that is too large to be offered as a whole."""
    keys = {"range": "fd00:7::/64", "block": 65}
    monkeypatch.setattr(blocklending, "_AT_ONCE", 3)
    one, other, third = nodes(3)
    one.add("a", **keys)
    other.add("b", **keys)
    pool = objects.pool("kube-system", "fd00:7::/64", "")
    eventually(lambda: seen(one, watching, pool))
    upkeep(one, watching, grace=3600.0)
    edit = Edit(pool, "multus_ipam_whereabouts.pool:want", {"now": 7, "every": 0})
    watching.edit(edit, Deadline.after(5.0))
    eventually(lambda: watching.get(pool, Deadline.after(1.0))["metadata"].get("annotations"))
    upkeep(one, watching, grace=3600.0)
    assert len(lent(one)) == 3
    found = {third.addresses(f"c{number}", **keys)[0] for number in range(3)}
    assert len(found) == 3 and {each.partition("/")[0] for each in found} == set(lent(one))
    third.delete("c0", **keys)
    upkeep(third, watching)
    assert sorted(map(bool, lent(one).values())) == [False, True, True]


class Late:
    """An API process whose watch does not show any more what becomes of objects."""

    def __init__(self, api: NodeApi, wanted: list[Any]) -> None:
        self._api = api
        self._shown = api.get_each(wanted, Deadline.after(1.0))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    def get_each(self, *_: Any) -> list[Any]:
        return self._shown


def test_a_late_watch_does_not_make_a_node_write_again_and_again(
    node: Node, watching: NodeApi
) -> None:
    node.add("a", **KEYS)
    upkeep(node, watching, grace=3600.0)
    want(watching)
    eventually(lambda: seen(node, watching))
    late: Any = Late(watching, refs(node))
    for _ in range(5):
        upkeep(node, late, grace=3600.0)
    assert revision(node) == 1 and len(lent(node)) == 6


def by_hand(node: Node, name: str, **spec: Any) -> None:
    """Change a block's object as nobody should."""
    changed(node, "addressblocks", "ipam.multus", name, {"spec": spec})


def changed(node: Node, plural: str, group: str, name: str, patch: dict[str, Any]) -> None:
    kind = node.api.store.kind(group, "v1alpha1", plural)
    assert kind is not None

    def edit(wire: dict[str, Any]) -> None:
        wire.update(merge_patch(wire, patch))

    node.api.store.change(kind, "kube-system", name, edit)


NOBODY = {"node": "", "store": ""}


def test_an_object_that_lends_what_its_node_uses_is_put_right(
    node: Node, watching: NodeApi
) -> None:
    (address,) = node.addresses("a", **KEYS)
    (name,) = node.blocks()
    by_hand(node, name, lent={address.partition("/")[0]: NOBODY})
    eventually(lambda: seen(node, watching))
    upkeep(node, watching, grace=3600.0)
    assert lent(node) == {} and kept(node) == set()


@pytest.mark.parametrize(
    "key", ["", "10.7.0.2 ", "10.7.0.200", "010.7.0.2", "fd00::1", "x", "10.7.0.2/32"]
)
def test_what_is_no_address_of_the_block_is_not_borrowed(
    nodes: Callable[[int], list[Node]],
    watching: NodeApi,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
) -> None:
    monkeypatch.setattr(blocktaking, "_PATIENCE", 0.0)
    lender, other = nodes(2)
    full(lender, other)
    (name,) = {folder.name for folder in home(lender).folders()}
    by_hand(lender, name, lent={key: NOBODY})
    with pytest.raises(AddressesExhausted):
        other.add("c", **KEYS)
    offering(lender, watching)
    assert len(lent(lender)) == 6 and key not in lent(lender)
    before = revision(lender, name)
    eventually(lambda: seen(lender, watching))
    upkeep(lender, watching, grace=3600.0)
    assert revision(lender, name) == before


@pytest.mark.parametrize("text", ["", "x", "9" * 400, "9" * 5000, "-1", "٣"])
def test_any_annotation_is_no_more_than_no_wish(
    node: Node, watching: NodeApi, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(blocktaking, "_PATIENCE", 0.0)
    for number in range(14):
        node.add(f"a{number}", **KEYS)
    annotations = {"annotations": {"ipam.multus/wanted": text}}
    changed(node, "ippools", "whereabouts.cni.cncf.io", POOL.name, {"metadata": annotations})
    eventually(lambda: annotation(watching) == text)
    upkeep(node, watching, grace=3600.0)
    with pytest.raises(AddressesExhausted):
        node.add("more", **KEYS)
    eventually(lambda: annotation(watching) != text)
