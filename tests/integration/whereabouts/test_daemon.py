"""The daemon serves the type: real bridges, no binary, one API server for several nodes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from waiting import becomes, eventually

from integration.daemon.node import Daemon
from integration.kube.cluster import NETWORKS, Cluster
from multus.testing.apiserver import ApiServer, Fault
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Container, Runtime

POOL = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools/10.44.0.0-16"


@pytest.fixture
def api(cni_node: Node) -> Iterator[ApiServer]:
    with ApiServer(netns=cni_node.path) as server:
        yield server


@pytest.fixture
def cluster(
    api: ApiServer, cni_runtime: Runtime, cni_bin: BinDir, cni_node: Node, tmp_path: Path
) -> Cluster:
    """A node without a binary for IPAM; its definition ``lan`` has a range of the cluster."""
    kubeconfig = api.write_kubeconfig(tmp_path)
    found = Cluster(api, cni_runtime, cni_bin, cni_node, str(tmp_path), kubeconfig)
    found.nad("lan", {
        "cniVersion": "1.0.0",
        "type": "bridge",
        "bridge": "lan0",
        "ipam": {"type": "whereabouts", "range": "10.44.0.0/16"},
    })  # fmt: skip
    return found


@pytest.fixture
def daemon(cluster: Cluster, cni_node: Node, tmp_path: Path) -> Iterator[Daemon]:
    settings = {
        "cniDir": str(tmp_path / "multus"),
        "kubeconfig": cluster.kubeconfig,
        "nodeName": "n1",
        "logLevel": "verbose",
    }
    made = Daemon(tmp_path / "daemon", cni_node, settings)
    yield made
    made.stop()


@pytest.fixture
def served(cluster: Cluster, daemon: Daemon) -> Cluster:
    """The cluster with the daemon, which watches the pool."""
    daemon.start()
    becomes(lambda: daemon.control("ready"), (0, "ok\n"))
    return evolve(cluster, runtime=evolve(cluster.runtime, environ=daemon.environ()))


def allocations(api: ApiServer) -> dict[str, Any]:
    kind = api.store.kind("whereabouts.cni.cncf.io", "v1alpha1", "ippools")
    assert kind is not None
    pools = api.store.objects(kind, "kube-system", ())
    return dict(pools[0]["spec"]["allocations"]) if pools else {}


def pods(
    cluster: Cluster, netns: Callable[[], Netns], count: int, network: str = "lan"
) -> list[Container]:
    return [
        cluster.pod(netns(), {NETWORKS: network}, name=f"web-{number}") for number in range(count)
    ]


def test_pods_at_once_share_writes_and_their_dels_wait_for_no_server(
    served: Cluster, daemon: Daemon, cni_pods: Callable[[], Netns]
) -> None:
    conf, api = served.default(), served.api
    first, *others = pods(served, cni_pods, 8)
    served.add(conf, first).require()
    eventually(lambda: daemon.metric('multus_cache_objects{cache="ippools') >= 1)
    api.requests.clear()
    with ThreadPoolExecutor(len(others)) as threads:
        list(threads.map(lambda each: served.add(conf, each).require(), others))
    assert sorted(allocations(api), key=int) == [str(number) for number in range(1, 9)]
    assert api.requests["PATCH", POOL] <= len(others)
    addresses = {
        Netns(os.path.basename(each.netns)).addresses("net1")[0] for each in (first, *others)
    }
    assert addresses == {f"10.44.0.{number}/16" for number in range(1, 9)}
    api.faults.add(Fault("reset", path="*whereabouts*", times=0))
    served.delete(conf, first).require()
    assert len(allocations(api)) == 8
    api.faults.clear()
    eventually(lambda: len(allocations(api)) == 7)
    with ThreadPoolExecutor(len(others)) as threads:
        list(threads.map(lambda each: served.delete(conf, each).require(), others))
    assert allocations(api) == {}


def test_an_add_that_is_killed_while_it_writes_holds_nothing(
    served: Cluster, daemon: Daemon, cni_pods: Callable[[], Netns]
) -> None:
    conf, api = served.default(), served.api
    first, second = pods(served, cni_pods, 2)
    served.add(conf, first).require()
    held = Fault("held", path=POOL, method="PATCH")
    api.faults.add(held)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(served.add, conf, second)
        eventually(lambda: api.requests["PATCH", POOL] == 1)
        daemon.kill()
        daemon.start()
        asked.result()
    served.delete(conf, second).require()
    refused = api.answers["PATCH", POOL, 409]
    # The write that was under way at the server arrives late.
    held.released.set()
    eventually(lambda: api.answers["PATCH", POOL, 409] == refused + 1)
    assert set(allocations(api)) == {"1"}


def test_a_range_with_blocks_is_served_without_the_server_and_returned(
    cluster: Cluster, daemon: Daemon, cni_pods: Callable[[], Netns]
) -> None:
    ipam = {"type": "whereabouts", "range": "10.45.0.0/16", "block": 28}
    cluster.nad("part", {"type": "bridge", "bridge": "lan1", "ipam": ipam})
    api = cluster.api
    api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    daemon.settings = {**daemon.settings, "healGraceSeconds": 1}
    daemon.start()
    becomes(lambda: daemon.control("ready"), (0, "ok\n"))
    served = evolve(cluster, runtime=evolve(cluster.runtime, environ=daemon.environ()))
    conf = served.default()
    first, *others = pods(served, cni_pods, 6, "part")
    served.add(conf, first).require()
    assert [each["spec"]["node"] for each in blocks(api)] == ["n1"]
    eventually(lambda: daemon.metric('multus_cache_objects{cache="addressblocks') >= 1)
    api.faults.add(Fault("reset", path="*addressblocks*", times=0))
    api.faults.add(Fault("reset", path="*whereabouts*", times=0))
    with ThreadPoolExecutor(len(others)) as threads:
        list(threads.map(lambda each: served.add(conf, each).require(), others))
    found = {Netns(os.path.basename(each.netns)).addresses("net1")[0] for each in (first, *others)}
    assert len(found) == 6 and all(each.endswith("/16") for each in found)
    daemon.kill()
    daemon.start()
    for each in (first, *others):
        served.delete(conf, each).require()
    assert len(blocks(api)) == 1
    api.faults.clear()
    eventually(lambda: blocks(api) == [])


def blocks(api: ApiServer) -> list[dict[str, Any]]:
    kind = api.store.kind("ipam.multus", "v1alpha1", "addressblocks")
    assert kind is not None
    return list(api.store.objects(kind, "kube-system", ()))
