"""`multus ipam`: what is allocated, what is odd, and freeing what pods that are gone have left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from waiting import eventually

from integration.whereabouts.cluster import Node
from multus.api.kubernetes import ApiFailure
from multus.daemon.reconciling import Reconciling
from multus.daemon.settings import Settings
from multus.kube.kubeconfig import load_kubeconfig
from multus.kube.nodeapi import NodeApi
from multus.log import Log
from multus.registry.index import discover
from multus.registry.loading import load
from multus.testing.apiserver import Fault

Command = Callable[..., tuple[int, str]]


def pods(node: Node, *names: str) -> None:
    for name in names:
        node.api.create_pod(name)


def test_ranges_are_shown_with_how_full_they_are(node: Node, ipam: Command) -> None:
    pods(node, "a", "b")
    for name in ("a", "b", "gone"):
        node.add(name, range="10.7.0.0/29")
    node.add("a", ifname="net2", network_name="blue")
    status, said = ipam("status")
    assert status == 0, said
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert lines[0].startswith("10.7.0.0/24 (blue) ") and lines[0].endswith("1 of 254, 0%")
    assert lines[1].startswith("10.7.0.0/29 ") and lines[1].endswith("3 of 6, 50% 1 suspicious")
    node.add("b", ifname="net9", range="10.8.0.0/30")
    node.add("a", ifname="net9", range="10.8.0.0/30")
    assert ipam("status")[0] == 1


def test_allocations_are_listed_with_what_is_odd(node: Node, ipam: Command) -> None:
    pods(node, "a")
    for name in ("a", "gone"):
        node.add(name)
    found = json.loads(ipam("list", "--json")[1])
    (listed,) = found
    assert [(each["address"], each["pod"], each["remark"]) for each in listed["allocations"]] == [
        ("10.7.0.1", "default/a", ""),
        ("10.7.0.2", "default/gone", "pod default/gone does not exist"),
    ]
    _, said = ipam("list", "--suspicious")
    assert "10.7.0.2" in said and "10.7.0.1 " not in said


def test_addresses_of_pods_that_are_gone_are_freed(node: Node, ipam: Command) -> None:
    pods(node, "a")
    for name in ("a", "gone"):
        node.add(name)
    status, said = ipam("reconcile", "--dry-run")
    assert status == 0 and "would free 10.7.0.2" in said
    assert len(node.allocations()) == 2
    status, said = ipam("reconcile", "--grace", "0.1")
    assert status == 0 and "freed 10.7.0.2 of 10.7.0.0/24, default/gone net1" in said
    assert node.allocations() == {"1": "default/a net1"}
    assert node.stored("overlappingrangeipreservations").keys() == {"10.7.0.1"}
    assert "nothing is left" in ipam("reconcile", "--grace", "0.1")[1]


def test_a_reservation_without_an_allocation_is_freed(node: Node, ipam: Command) -> None:
    node.add("gone")
    kind = node.api.store.kind("whereabouts.cni.cncf.io", "v1alpha1", "ippools")
    assert kind is not None
    node.api.store.delete(kind, "kube-system", "10.7.0.0-24")
    (found,) = json.loads(ipam("list", "--json")[1])
    (held,) = found["allocations"]
    assert held["address"] == "10.7.0.1" and held["remark"] == "pod default/gone does not exist"
    assert ipam("reconcile", "--grace", "0.1")[0] == 0
    assert node.stored("overlappingrangeipreservations") == {}


def test_an_address_is_released_by_name(node: Node, ipam: Command) -> None:
    pods(node, "a")
    for name in ("a", "gone"):
        node.add(name)
    status, said = ipam("release", "10.7.0.1")
    assert status == 1 and "in use by pod default/a" in said
    assert ipam("release", "10.7.0.2")[0] == 0
    assert ipam("release", "10.7.0.1", "--force")[0] == 0
    assert node.allocations() == {}
    assert "allocated in no range" in ipam("release", "10.7.0.1")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [(("release",), "no address is named"), (("list", "10.7.0.1"), "'list' is of all")],
)
def test_addresses_belong_to_release_alone(
    ipam: Command, words: tuple[str, ...], said: str
) -> None:
    assert said in ipam(*words)[1]


def claim_of(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "k8s.cni.cncf.io/v1alpha1",
        "kind": "IPAMClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"network": "net1", "interface": "net1"},
    }


def claim(node: Node, name: str = "vm") -> dict[str, Any]:
    return node.api.create(claim_of(name))


def test_what_is_not_freed_is_said(node: Node, ipam: Command) -> None:
    node.add("gone")
    node.api.faults.add(Fault("status", "*/ippools/*", "PATCH", times=0, code=422))
    status, said = ipam("release", "10.7.0.1")
    assert status == 1 and "not freed: 10.7.0.1" in said and "422" in said
    node.api.faults.clear()
    # The pod comes at the moment when it is asked for once more.
    node.api.faults.add(Fault("slow", "*/pods/gone", seconds=2.0))
    node.api.requests.clear()
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ipam, "release", "10.7.0.1", "--json")
        eventually(lambda: node.api.requests["GET", "/api/v1/namespaces/default/pods/gone"])
        pods(node, "gone")
        status, said = asked.result()
    (found,) = json.loads(said)
    assert status == 1 and not found["freed"]
    assert found["problem"] == "pod default/gone exists by now"
    assert ipam("release", "10.7.0.1", "--force")[0] == 0
    assert node.allocations() == {}


def test_a_claim_that_nobody_can_read_keeps_its_addresses_alone(node: Node, ipam: Command) -> None:
    for name in ("vm", "odd"):
        claim(node, name)
        node.add(f"{name}-1", claim=name)
    node.api.delete(claim_of("vm"))
    node.add("gone")
    node.api.faults.add(Fault("status", "*/ipamclaims/odd", times=0, code=403))
    status, said = ipam("reconcile", "--grace", "0.1")
    assert status == 1 and "not known whether addresses are in use" in said and "403" in said
    assert node.allocations() == {"2": "default/odd-1 net1"}
    node.add("gone")
    daemon = daemon_of(node, "n1")
    for _ in range(2):
        with pytest.raises(ApiFailure, match="403"):
            daemon.look()
        time.sleep(0.01)
    assert node.allocations() == {"2": "default/odd-1 net1"}


def test_a_claim_that_is_created_again_keeps_its_addresses(node: Node, ipam: Command) -> None:
    made = claim(node)
    node.add("vm-1", claim="vm")
    node.api.delete(made)
    path = "/apis/k8s.cni.cncf.io/v1alpha1/namespaces/default/ipamclaims/vm"
    before = node.api.requests["GET", path]
    node.api.faults.add(Fault("slow", "*/ipamclaims/vm", times=3, seconds=0.5))
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ipam, "reconcile", "--grace", "0.1")
        # Two looks, then the last one.
        eventually(lambda: node.api.requests["GET", path] == before + 3)
        claim(node)
        status, said = asked.result()
    assert status == 0 and "exists by now" in said
    assert node.allocations() == {"1": "default/vm-1 net1"}


def test_a_claims_addresses_are_freed_with_the_claim(node: Node, ipam: Command) -> None:
    made = claim(node)
    node.add("vm-1", claim="vm")
    assert ipam("reconcile", "--grace", "0.1")[0] == 0
    assert node.allocations() == {"1": "default/vm-1 net1"}
    node.api.delete(made)
    assert ipam("reconcile", "--grace", "0.1")[0] == 0
    assert node.allocations() == {}
    assert node.stored("overlappingrangeipreservations") == {}


def daemon_of(node: Node, name: str, **settings: Any) -> Reconciling:
    """What a daemon of the cluster does, without its process."""
    log = settings.pop("log", Log.from_conf({}))
    raw = {"cniDir": node.cni_dir, "nodeName": name, "healGraceSeconds": 0, **settings}
    api = NodeApi(load_kubeconfig(node.kubeconfig), name, {})
    made = evolve(Settings.of(raw, "the test", {}), heal_seconds=0.02)
    return Reconciling(made, load(discover()).hooks, lambda: api, log)


def test_a_daemon_frees_what_it_has_seen_twice(node: Node) -> None:
    pods(node, "a")
    for name in ("a", "gone"):
        node.add(name)
    daemon = daemon_of(node, "n1")
    daemon.look()
    assert len(node.allocations()) == 2
    time.sleep(0.01)
    daemon.look()
    assert node.allocations() == {"1": "default/a net1"}


def test_a_cluster_without_pools_is_told_once(node: Node, tmp_path: Path) -> None:
    node.api.forbidden.add(("list", "ippools"))
    path = tmp_path / "log"
    daemon = daemon_of(node, "n1", log=Log.from_conf({"logFile": str(path)}))
    daemon.start()
    asked = "/apis/whereabouts.cni.cncf.io/v1alpha1/ippools"
    eventually(lambda: node.api.requests["GET", asked] > 3)
    daemon.close()
    assert path.read_text().count("cannot be looked for") == 1


def test_one_daemon_of_a_cluster_looks(node: Node) -> None:
    node.add("gone")
    first, second = daemon_of(node, "n1"), daemon_of(node, "n2")
    first.look()
    for _ in range(2):
        time.sleep(0.01)
        second.look()
    assert len(node.allocations()) == 1
    first.look()
    assert node.allocations() == {}


def test_nothing_younger_than_the_grace_is_freed(node: Node) -> None:
    node.add("gone")
    daemon = daemon_of(node, "n1", healGraceSeconds=60)
    for _ in range(3):
        daemon.look()
    assert len(node.allocations()) == 1


def test_a_pod_that_came_back_keeps_its_address(node: Node) -> None:
    node.add("web-0", container="old")
    daemon = daemon_of(node, "n1")
    daemon.look()
    pods(node, "web-0")
    node.add("web-0", container="new")
    time.sleep(0.01)
    daemon.look()
    assert node.allocations() == {"1": "default/web-0 net1"}
