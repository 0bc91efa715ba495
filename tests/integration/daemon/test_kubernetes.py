"""The daemon on a node of a cluster: its cache answers, also after failures."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from waiting import PATIENCE, becomes, eventually

from integration.daemon.family import Call, Pids, processes
from integration.daemon.node import Daemon
from integration.kube.claims import claim, reserve, result, slice_of, vf
from integration.kube.cluster import NETWORKS, Cluster
from multus.testing.apiserver import ApiServer, Fault
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Container, Runtime


@pytest.fixture
def api(cni_node: Node) -> Iterator[ApiServer]:
    with ApiServer(netns=cni_node.path) as server:
        yield server


@pytest.fixture
def kubeconfig(api: ApiServer, tmp_path: Path) -> str:
    return api.write_kubeconfig(tmp_path, "token-file")


@pytest.fixture
def daemon(cni_node: Node, tmp_path: Path, kubeconfig: str) -> Iterator[Daemon]:
    settings = {
        "cniDir": str(tmp_path / "multus"),
        "kubeconfig": kubeconfig,
        "nodeName": "n1",
        "logLevel": "verbose",
    }
    made = Daemon(tmp_path / "daemon", cni_node, settings)
    yield made
    made.stop()


@pytest.fixture
def cluster(
    api: ApiServer,
    daemon: Daemon,
    programs: Mapping[str, str],
    cni_runtime: Runtime,
    cni_bin: BinDir,
    cni_node: Node,
    tmp_path: Path,
    kubeconfig: str,
) -> Cluster:
    """A node whose runtime starts the shim."""
    cni_bin.real("bridge", "host-local", "ptp")
    runtime = evolve(cni_runtime, program=(programs["python"],), environ=daemon.environ())
    return Cluster(api, runtime, cni_bin, cni_node, str(tmp_path), kubeconfig)


@pytest.fixture
def conf(cluster: Cluster, daemon: Daemon) -> dict[str, Any]:
    """A default network, and definitions in the daemon's cache."""
    cluster.bridge("front", "10.31.0")
    cluster.bridge("back", "10.32.0")
    daemon.start()
    becomes(lambda: daemon.control("ready"), (0, "ok\n"))
    eventually(lambda: daemon.metric("multus_cache_objects") >= 2)
    return cluster.default()


def pod(cluster: Cluster, daemon: Daemon, netns: Netns, name: str) -> Container:
    """A pod in the daemon's cache."""
    known = daemon.metric("multus_cache_objects")
    made = cluster.pod(netns, {NETWORKS: "front,back"}, name=name)
    becomes(lambda: daemon.metric("multus_cache_objects"), known + 1)
    return made


def gets(cluster: Cluster, name: str) -> int:
    """The GETs of a pod, and of definitions by name; lists and watches have other paths."""
    return cluster.gets(f"/pods/{name}") + cluster.gets("/network-attachment-definitions/")


def test_a_warm_add_makes_no_get_and_writes_the_status(
    cluster: Cluster, daemon: Daemon, conf: dict[str, Any], cni_pod: Netns
) -> None:
    container = pod(cluster, daemon, cni_pod, "web")
    before = sum(n for (method, _), n in cluster.api.requests.items() if method == "GET")
    cluster.add(conf, container).require()
    after = sum(n for (method, _), n in cluster.api.requests.items() if method == "GET")
    assert after == before
    assert cni_pod.links().keys() == {"eth0", "net1", "net2"}
    becomes(lambda: [each["interface"] for each in cluster.status()], ["eth0", "net1", "net2"])
    cluster.delete(conf, container).require()
    assert sum(n for (m, _), n in cluster.api.requests.items() if m == "GET") == before


def test_a_pod_that_is_not_cached_is_read_directly(
    cluster: Cluster, daemon: Daemon, conf: dict[str, Any], cni_pod: Netns
) -> None:
    # A pod of another node: the watch does not contain it.
    made = cluster.api.create_pod("new", {NETWORKS: "front"}, node="n2")
    container = cluster.container(cni_pod, "new", "default", made["metadata"]["uid"])
    cluster.add(conf, container).require()
    assert cluster.gets("/pods/new") == 1
    assert cluster.gets("/network-attachment-definitions/front") == 0
    assert cni_pod.links().keys() == {"eth0", "net1"}


def test_a_pod_of_the_same_name_and_another_uid_is_read_directly(
    cluster: Cluster, daemon: Daemon, conf: dict[str, Any], cni_pod: Netns
) -> None:
    pod(cluster, daemon, cni_pod, "web")
    container = cluster.container(cni_pod, "web", "default", "another-uid")
    assert cluster.add(conf, container).error["code"] == 11
    assert cluster.gets("/pods/web") == 1
    assert cni_pod.links() == {}


def test_what_a_pod_requests_is_served_without_a_capability_or_told(
    cluster: Cluster, daemon: Daemon, conf: dict[str, Any], cni_pod: Netns
) -> None:
    asked = {"name": "front", "mac": "02:00:00:00:00:07", "ips": ["10.31.0.7"]}
    elements = [{**asked, "bandwidth": {"ingressRate": 1000}}]
    container = cluster.pod(cni_pod, {NETWORKS: elements})
    cluster.add(conf, container).require()
    assert cni_pod.links()["net1"].mac == "02:00:00:00:00:07"
    assert cni_pod.addresses("net1") == ["10.31.0.7/24"]
    unserved = "NetworkRequestUnserved"
    eventually(lambda: unserved in [reason for _, reason, _ in cluster.events()])
    (message,) = [text for _, reason, text in cluster.events() if reason == unserved]
    assert "network 'default/front', interface net1: 'bandwidth' is requested" in message
    cluster.delete(conf, container).require()
    assert cni_pod.links() == {}


def test_broken_watches_are_resumed(
    cluster: Cluster, daemon: Daemon, conf: dict[str, Any], cni_pods: Callable[[], Netns]
) -> None:
    for number in range(3):
        cluster.api.drop_watches()
        netns = cni_pods()
        name = f"web{number}"
        container = pod(cluster, daemon, netns, name)
        cluster.add(conf, container).require()
        assert gets(cluster, name) == 0
        assert netns.links().keys() == {"eth0", "net1", "net2"}


def test_an_expired_resource_version_means_a_new_list(
    cluster: Cluster, daemon: Daemon, conf: dict[str, Any], cni_pod: Netns
) -> None:
    lists = cluster.gets("/api/v1/pods")
    cluster.api.faults.add(Fault("status", "*pods*", "GET", times=1, code=410, reason="Expired"))
    cluster.api.drop_watches()
    container = pod(cluster, daemon, cni_pod, "web")
    assert cluster.gets("/api/v1/pods") > lists
    cluster.add(conf, container).require()
    assert gets(cluster, "web") == 0


def test_without_an_api_server_del_works_and_an_unknown_pod_is_refused(
    cluster: Cluster, daemon: Daemon, conf: dict[str, Any], cni_pods: Callable[[], Netns]
) -> None:
    netns = cni_pods()
    container = pod(cluster, daemon, netns, "web")
    complete = daemon.metric("multus_cache_synced")
    cluster.add(conf, container).require()
    cluster.api.faults.add(Fault("reset", times=0))
    cluster.api.drop_watches()
    cluster.delete(conf, container).require()
    assert netns.links() == {}
    stranger = cluster.container(cni_pods(), "stranger", "default", "uid-1")
    assert cluster.add({**conf, "apiTimeout": 2}, stranger).error["code"] == 11
    cluster.api.faults.clear()
    again = pod(cluster, daemon, cni_pods(), "again")
    becomes(lambda: daemon.metric("multus_cache_synced"), complete)
    cluster.add(conf, again).require()
    assert gets(cluster, "again") == 0


def test_a_status_that_cannot_be_written_is_written_later(
    cluster: Cluster, daemon: Daemon, conf: dict[str, Any], cni_pod: Netns
) -> None:
    container = pod(cluster, daemon, cni_pod, "web")
    cluster.api.faults.add(Fault("status", "*", "PATCH", times=3, code=503))
    cluster.add(conf, container).require()
    eventually(lambda: "k8s.v1.cni.cncf.io/network-status" in cluster.annotations())
    assert [each["interface"] for each in cluster.status()] == ["eth0", "net1", "net2"]


def test_a_renewed_token_is_read_again(
    cluster: Cluster, daemon: Daemon, conf: dict[str, Any], cni_pods: Callable[[], Netns]
) -> None:
    cluster.add(conf, pod(cluster, daemon, cni_pods(), "first")).require()
    cluster.api.access.token = "renewed-token"
    token = Path(cluster.folder) / "token"
    fresh = token.with_name("token.new")
    fresh.write_text("renewed-token\n")
    fresh.rename(token)
    cluster.api.drop_watches()
    netns = cni_pods()
    container = pod(cluster, daemon, netns, "second")
    cluster.add(conf, container).require()
    assert netns.links().keys() == {"eth0", "net1", "net2"}
    eventually(lambda: "network-status" in str(cluster.annotations("second")))
    assert "renewed-token" not in daemon.log + daemon.stderr


def test_cache_age_and_size_are_shown(
    cluster: Cluster, daemon: Daemon, conf: dict[str, Any]
) -> None:
    assert daemon.metric('multus_cache_synced{cache="pods of node n1"}') == 1
    assert 0 <= daemon.metric('multus_cache_age_seconds{cache="pods of node n1"}') < 60


# --- The API process ------------------------------------------------------------------------------


def alone(daemon: Daemon) -> bool:
    """Whether exactly one generation is running."""
    names = ("multus-template", "multus-api")
    return [len(processes(daemon, name)) for name in names] == [1, 1]


def test_an_api_process_that_is_killed_costs_no_call(
    cluster: Cluster, daemon: Daemon, conf: dict[str, Any], cni_pods: Callable[[], Netns]
) -> None:
    netns = cni_pods()
    container = pod(cluster, daemon, netns, "web")
    synced = daemon.metric("multus_cache_synced")
    (agent,) = processes(daemon, "multus-api")
    os.kill(agent, signal.SIGKILL)
    assert daemon.control("health") == (0, "ok\n")
    needs_it = Call(lambda: cluster.add(conf, container))
    cluster.add(cluster.default(kubeconfig=None), Container(cni_pods().path)).require()
    needs_it.answer().require()
    assert netns.links().keys() == {"eth0", "net1", "net2"}
    becomes(lambda: daemon.control("ready"), (0, "ok\n"))
    becomes(lambda: daemon.metric("multus_cache_synced"), synced)
    assert "the API process ended: it is restarted" in daemon.log
    again, before = pod(cluster, daemon, cni_pods(), "again"), gets(cluster, "again")
    cluster.add(conf, again).require()
    assert gets(cluster, "again") == before
    eventually(lambda: alone(daemon))


_AWAY = [Fault("status", times=0, code=503), Fault("slow", times=0, seconds=600)]


@pytest.fixture(params=_AWAY, ids=["503", "silent"])
def away(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    daemon: Daemon,
    conf: dict[str, Any],
    cni_pod: Netns,
) -> None:
    """The API server is away, and a status is queued."""
    container = pod(cluster, daemon, cni_pod, "web")
    cluster.api.faults.add(evolve(request.param, method="PATCH"))
    cluster.add(conf, container).require()
    eventually(lambda: daemon.metric("multus_queued_writes") >= 1)
    cluster.api.faults.add(request.param)
    cluster.api.drop_watches()


def test_the_daemon_stops_soon_while_the_api_server_is_away(daemon: Daemon, away: None) -> None:
    assert daemon.process is not None
    daemon.process.terminate()
    assert daemon.process.wait(PATIENCE) == 0
    daemon.process = None


def test_reloads_while_it_is_away_end_soon_and_leave_one_of_each_process(
    daemon: Daemon, away: None
) -> None:
    began = time.monotonic()
    assert daemon.control("reload") == (0, "ok\n")
    assert time.monotonic() - began < PATIENCE
    found: list[tuple[int, str]] = []
    reload = lambda: found.append(daemon.control("reload"))  # noqa: E731
    reloads = [threading.Thread(target=reload) for _ in range(2)]
    for each in reloads:
        each.start()
    for each in reloads:
        each.join(2 * PATIENCE)
    assert found == [(0, "ok\n")] * 2
    eventually(lambda: alone(daemon))
    assert daemon.control("health") == (0, "ok\n")


def test_calls_fail_with_code_11_while_the_api_process_can_start_no_thread(
    cluster: Cluster, daemon: Daemon, conf: dict[str, Any], cni_pods: Callable[[], Netns]
) -> None:
    container = pod(cluster, daemon, cni_pods(), "web")
    # There is a worker now, without a connection to the API process.
    cluster.add(cluster.default(kubeconfig=None), Container(cni_pods().path)).require()
    with Pids(daemon) as pids:
        pids.close()
        refusal = cluster.add({**conf, "apiTimeout": 1}, container).error
        assert refusal["code"] == 11
        assert "does not answer" in refusal["msg"]
        eventually(lambda: "cannot serve a worker" in daemon.log)
        assert daemon.control("health") == (0, "ok\n")
        pids.open()
        cluster.add(conf, container).require()


def test_the_slices_of_the_node_are_cached_for_devices_of_claims(
    cluster: Cluster, daemon: Daemon, cni_pod: Netns
) -> None:
    cluster.bin.stand_in("card")
    card = {"cniVersion": "1.0.0", "type": "card"}
    cluster.nad("fast", card, annotations={"k8s.v1.cni.cncf.io/resourceName": "example.org/vf"})
    slice_of(cluster.api, vf(3))
    slice_of(cluster.api, vf(4), node="n2", name="n2-card")
    daemon.start()
    becomes(lambda: daemon.control("ready"), (0, "ok\n"))
    cache = 'multus_cache_objects{cache="resourceslices.resource.k8s.io of node n1"}'
    eventually(lambda: daemon.metric(cache) == 1)
    container = cluster.pod(cni_pod, {NETWORKS: "fast"})
    claim(cluster.api, "one", result("r", "vf-3"))
    reserve(cluster.api, "one")
    lists = cluster.gets("/resourceslices")
    os.makedirs(f"{cluster.folder}/k/device-plugins")
    Path(cluster.folder, "k/device-plugins/kubelet_internal_checkpoint").write_text("{}")
    cluster.add(cluster.default(), container).require()
    assert [call.conf.get("deviceID") for call in cluster.bin.calls] == ["0000:03:02.3"]
    assert cluster.gets("/resourceslices") == lists
    assert cluster.gets("/resourceclaims/one") == 1
