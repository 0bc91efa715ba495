"""An API server that is slow, away, or whose answers are lost; many nodes at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from integration.whereabouts.cluster import Node
from multus.api.errors import TryAgainLater
from multus.testing.apiserver import Fault


def kept(node: Node) -> list[str]:
    folder = os.path.join(node.cni_dir, ".edits")
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def away(node: Node) -> None:
    node.api.faults.add(Fault("reset", path="*whereabouts*", times=0))


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_write_whose_answer_was_lost_is_not_made_twice(node: Node, method: str) -> None:
    node.add("a")
    node.api.faults.add(Fault("truncate", path="*where*", method=method))
    assert node.addresses("b") == ["10.7.0.2/24"]
    node.delete("b")
    assert node.allocations() == {"1": "default/a net1"}
    assert node.stored("overlappingrangeipreservations").keys() == {"10.7.0.1"}


def test_an_object_that_another_node_changed_is_read_again(node: Node) -> None:
    node.add("a")
    node.api.faults.add(
        Fault("status", path="*/ippools/*", method="PATCH", code=409, reason="Conflict", times=2)
    )
    assert node.addresses("b") == ["10.7.0.2/24"]


def test_a_del_without_the_api_server_succeeds_and_is_made_later(node: Node) -> None:
    result = node.add("a")
    away(node)
    node.delete("a", prev=result)
    assert len(kept(node)) == 1
    node.api.faults.clear()
    assert node.allocations() == {"1": "default/a net1"}
    assert node.addresses("b") == ["10.7.0.1/24"]
    assert kept(node) == []
    assert node.stored("overlappingrangeipreservations").keys() == {"10.7.0.1"}
    assert node.allocations() == {"1": "default/b net1"}


def test_what_is_kept_comes_before_what_the_same_container_asks_for_later(node: Node) -> None:
    result = node.add("a")
    away(node)
    node.delete("a", prev=result)
    node.api.faults.clear()
    assert node.addresses("a") == ["10.7.0.1/24"]
    assert node.allocations() == {"1": "default/a net1"}
    assert kept(node) == []


def test_the_order_of_what_is_kept_does_not_follow_the_clock(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = {name: node.add(name) for name in "ab"}
    away(node)
    node.delete("a", prev=results["a"])
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    node.delete("b", prev=results["b"])
    first, second = kept(node)
    assert int(second) == int(first) + 1


def test_a_failed_add_holds_nothing_when_the_api_server_comes_back(node: Node) -> None:
    node.add("a")
    node.api.faults.add(Fault("status", path="*/overlapping*", times=0, code=403))
    with pytest.raises(TryAgainLater):
        node.add("b")
    node.api.faults.clear()
    node.add("c")
    assert sorted(node.allocations().values()) == ["default/a net1", "default/c net1"]


def test_a_kind_that_is_not_served_holds_nothing(node: Node) -> None:
    fault = Fault("status", path="*/ippools/*", times=0, code=404, reason="NotFound")
    node.api.faults.add(fault)
    node.delete("a")
    assert kept(node) == []


def test_many_nodes_at_once_get_different_addresses(nodes: Callable[[int], list[Node]]) -> None:
    many = nodes(8)
    names = [f"p{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: many[n % 8].addresses(names[n])[0], range(len(names))))
    assert len(set(found)) == len(names)
    assert sorted(many[0].allocations(), key=int) == [str(n + 1) for n in range(len(names))]


def test_a_write_that_arrives_after_the_del_of_a_killed_add_is_refused(node: Node) -> None:
    node.add("a")
    (pool,) = node.stored("ippools").values()
    node.delete("b")
    (now,) = node.stored("ippools").values()
    assert now["metadata"]["resourceVersion"] != pool["metadata"]["resourceVersion"]
    node.delete("b")
    (again,) = node.stored("ippools").values()
    assert again["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"]
    assert node.allocations() == {"1": "default/a net1"}
