"""A daemon whose pods' networks follow their annotations, and that puts their statuses right."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from attrs import evolve
from waiting import becomes, eventually

from integration.daemon.family import processes
from integration.daemon.node import Daemon
from integration.kube.cluster import NETWORKS, STATUS, Cluster
from integration.peer.goclient import GoClient
from multus.cni import shim
from multus.testing.apiserver import ApiServer, Fault
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Container, Runtime


@pytest.fixture
def kubeconfig(cni_api: ApiServer, tmp_path: Path) -> str:
    return cni_api.write_kubeconfig(tmp_path)


@pytest.fixture
def daemon(cni_node: Node, tmp_path: Path, kubeconfig: str) -> Iterator[Daemon]:
    """One that follows pods, not started."""
    settings = {
        "cniDir": str(tmp_path / "multus"),
        "kubeconfig": kubeconfig,
        "nodeName": "n1",
        "podChanges": "follow",
        "workers": 4,
    }
    made = Daemon(tmp_path / "daemon", cni_node, settings)
    yield made
    made.stop()


@pytest.fixture
def cluster(
    cni_api: ApiServer,
    daemon: Daemon,
    cni_runtime: Runtime,
    cni_bin: BinDir,
    cni_node: Node,
    tmp_path: Path,
    kubeconfig: str,
) -> Cluster:
    """A node with definitions a, b and c."""
    cni_bin.real("bridge", "host-local", "ptp")
    environ = {**cni_runtime.environ, "MULTUS_SOCKET": str(daemon.socket)}
    runtime = evolve(cni_runtime, environ=environ)
    made = Cluster(cni_api, runtime, cni_bin, cni_node, str(tmp_path), kubeconfig)
    for number, name in enumerate("abc", start=1):
        made.bridge(name, f"10.{number}.0")
    return made


@pytest.fixture
def web(cluster: Cluster, daemon: Daemon, cni_pod: Netns) -> Container:
    """A running pod with the default network alone, on a node whose daemon serves."""
    daemon.start()
    container = cluster.pod(cni_pod)
    cluster.add(cluster.default(), container).require()
    return container


def shown(cluster: Cluster) -> dict[str, list[str]]:
    """The status: addresses by interface."""
    return {each["interface"]: each["ips"] for each in cluster.status()}


SAME = 'multus_pod_looks_total{outcome="same"}'

ETH0 = {"eth0": ["10.10.0.2"]}


def test_the_annotation_of_a_running_pod_is_followed(
    cluster: Cluster, cni_pod: Netns, web: Container
) -> None:
    cluster.annotate("a,b@data")
    becomes(lambda: shown(cluster), {**ETH0, "net1": ["10.1.0.2"], "data": ["10.2.0.2"]})
    assert sorted(cni_pod.links()) == ["data", "eth0", "net1"]
    cluster.annotate("c")
    becomes(lambda: shown(cluster), {**ETH0, "net1": ["10.3.0.2"]})
    cluster.annotate(None)
    becomes(lambda: shown(cluster), ETH0)
    assert sorted(cni_pod.links()) == ["eth0"]
    cluster.delete(cluster.default(), web).require()
    assert cni_pod.links() == {}


def test_what_does_not_exist_is_said_once_and_attached_when_it_comes(
    cluster: Cluster, cni_pod: Netns, web: Container, daemon: Daemon
) -> None:
    cluster.annotate("a,later")
    becomes(lambda: sorted(cni_pod.links()), ["eth0", "net1"])
    refused = 'multus_pod_looks_total{outcome="refused"}'
    eventually(lambda: daemon.metric(refused) >= 2)
    missing = [text for _, reason, text in cluster.events() if reason == "NoNetworkFound"]
    assert len(missing) == 1
    assert "default/later, interface net2, is not changed: " in missing[0]
    assert daemon.log.count("default/later, interface net2: not changed") == 1
    cluster.bridge("later", "10.9.0")
    becomes(lambda: shown(cluster).get("net2"), ["10.9.0.2"])


def test_a_corrected_annotation_does_not_wait_for_the_pause_of_the_last_failure(
    cluster: Cluster, cni_pod: Netns, web: Container, daemon: Daemon
) -> None:
    cluster.annotate("[{")
    eventually(
        lambda: any(reason == "NetworkAttachmentFailed" for _, reason, _ in cluster.events())
    )
    assert sorted(cni_pod.links()) == ["eth0"]
    cluster.annotate("b")
    becomes(lambda: shown(cluster), {**ETH0, "net1": ["10.2.0.2"]})


def test_of_a_container_that_has_ended_nothing_is_said(
    cluster: Cluster, cni_pod: Netns, web: Container, daemon: Daemon
) -> None:
    eventually(lambda: daemon.metric(SAME) >= 1)
    cni_pod.remove()
    cluster.annotate("a")
    eventually(lambda: daemon.metric('multus_pod_looks_total{outcome="gone"}') >= 1)
    cluster.delete(cluster.default(), web).require()
    assert {reason for _, reason, _ in cluster.events()} == {"AddedInterface"}
    assert '"CHANGE"' not in daemon.log and "is gone" not in daemon.log


def test_an_api_server_that_is_away_in_the_middle_delays_and_loses_nothing(
    cluster: Cluster, cni_pod: Netns, web: Container
) -> None:
    cluster.api.faults.add(Fault("status", method="GET", path="definitions", code=503, times=3))
    cluster.api.faults.add(Fault("status", method="PATCH", code=503, times=2))
    cluster.annotate("a,b")
    becomes(lambda: shown(cluster), {**ETH0, "net1": ["10.1.0.2"], "net2": ["10.2.0.2"]})


def test_after_a_restart_everything_is_compared_once(
    cluster: Cluster, cni_pod: Netns, web: Container, daemon: Daemon
) -> None:
    daemon.stop()
    cluster.annotate("b")
    daemon.start()
    becomes(lambda: shown(cluster), {**ETH0, "net1": ["10.2.0.2"]})
    assert sorted(cni_pod.links()) == ["eth0", "net1"]


GATE = """\
#!/bin/sh
touch {folder}/{verb}-$CNI_COMMAND
while [ $CNI_COMMAND = ADD ] && [ ! -e {folder}/open ]; do sleep 0.02; done
echo '{{"cniVersion": "1.0.0"}}'
"""


def test_a_del_that_comes_in_the_middle_of_a_change_leaves_nothing(
    cluster: Cluster, cni_pod: Netns, web: Container, tmp_path: Path
) -> None:
    script = GATE.format(folder=tmp_path, verb="gate")
    cluster.bin.file("gate", script.encode())
    cluster.nad("gated", {"cniVersion": "1.0.0", "type": "gate"})
    cluster.annotate("a,gated,b")
    eventually((tmp_path / "gate-ADD").exists)
    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(cluster.delete, cluster.default(), web)
        (tmp_path / "open").touch()
        deleting.result().require()
    assert cni_pod.links() == {}
    assert (tmp_path / "gate-DEL").exists()
    assert not [each for each in (tmp_path / "multus").iterdir() if ":" in each.name]


# --- Statuses ------------------------------------------------------------------------------------


def test_a_status_that_is_gone_or_old_is_put_right_and_another_programs_right_one_stays(
    cluster: Cluster, cni_pod: Netns, daemon: Daemon
) -> None:
    daemon.settings = {**daemon.settings, "podChanges": "off"}
    cluster.add(cluster.default(), cluster.pod(cni_pod)).require()
    right = cluster.status()
    old = [*right, {"name": "default/gone", "interface": "net1", "ips": ["10.9.0.9"]}]
    cluster.api.annotate("web", {STATUS: json.dumps(old), "example.com/noticed": "yes"})
    daemon.start()
    becomes(cluster.status, right)
    cluster.api.annotate("web", {STATUS: None})
    becomes(cluster.status, right)
    same = json.dumps([{**right[0], "name": "theirs", "example.com/more": 1}])
    before = daemon.metric(SAME)
    cluster.api.annotate("web", {STATUS: same, "example.com/noticed": None})
    eventually(lambda: daemon.metric(SAME) > before)
    assert cluster.annotations()[STATUS] == same
    cluster.annotate("a")
    assert sorted(cni_pod.links()) == ["eth0"]


def test_a_damaged_record_is_said_once_however_often_it_is_looked_at(
    cluster: Cluster, cni_pod: Netns, daemon: Daemon, tmp_path: Path
) -> None:
    daemon.settings = {**daemon.settings, "podChanges": "off"}
    container = cluster.pod(cni_pod)
    cluster.add(cluster.default(), container).require()
    record = tmp_path / "multus" / f"{container.id}:eth0"
    lines = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(b"".join(each for each in lines if b'"kind":"delegate"' not in each))
    daemon.start()
    eventually(lambda: daemon.metric('multus_pod_looks_total{outcome="failed"}') >= 2)
    reasons = Counter(reason for _, reason, _ in cluster.events())
    assert reasons == {"AddedInterface": 1, "NetworkAttachmentFailed": 1}
    assert daemon.log.count("does not name all networks") == 1


def test_what_an_outside_controller_attached_stays_with_the_name_that_it_has_for_it(
    cluster: Cluster, cni_pod: Netns, web: Container, daemon: Daemon
) -> None:
    hot = {"cniVersion": "1.0.0", "name": "hot", "type": "bridge", "bridge": "br-hot"}
    config = {**hot, "ipam": cluster.ipam("10.8.0")}
    found = GoClient(daemon.socket).delegate("ADD", config, web, "net1")
    assert found.status == 200, found.body
    its_own = {"name": "default/hot", "interface": "net1", "ips": ["10.8.0.2"], "dns": {}}
    status = json.dumps([*cluster.status(), {**its_own, "mac": cni_pod.links()["net1"].mac}])
    cluster.api.annotate("web", {STATUS: status, NETWORKS: "a"})
    becomes(lambda: shown(cluster), {**ETH0, "net1": ["10.8.0.2"], "net2": ["10.1.0.2"]})
    assert {**its_own}.items() <= cluster.status()[1].items()
    cluster.annotate(None)
    becomes(lambda: shown(cluster), {**ETH0, "net1": ["10.8.0.2"]})
    assert sorted(cni_pod.links()) == ["eth0", "net1"]
    cluster.delete(cluster.default(), web).require()
    assert cni_pod.links() == {}


def test_twenty_pods_are_changed_at_once(cluster: Cluster, daemon: Daemon) -> None:
    daemon.start()

    def call(command: str, container: Container) -> None:
        asked = {"CNI_COMMAND": command, "CNI_PATH": cluster.bin.path, **container.environ()}
        raw = {key.encode(): value.encode() for key, value in asked.items()}
        raw[b"MULTUS_SOCKET"] = os.fsencode(daemon.socket)
        answer = shim.ask(raw, json.dumps(cluster.default()).encode())
        assert answer is not None and answer[0] == 0, answer

    with ExitStack() as stack:
        pods: dict[str, Container] = {}
        for number in range(20):
            netns = Netns.create("pod")
            stack.callback(netns.remove)
            pods[f"web{number}"] = cluster.pod(netns, {NETWORKS: "a"}, name=f"web{number}")
            call("ADD", pods[f"web{number}"])
        for name in pods:
            cluster.annotate("b", name=name)
        last = lambda: {cluster.status(name)[-1]["name"] for name in pods}  # noqa: E731
        becomes(last, {"default/b"})
        assert len({cluster.status(name)[-1]["ips"][0] for name in pods}) == 20
        eventually(lambda: len(cluster.events()) >= 80)
        reasons = Counter(reason for _, reason, _ in cluster.events())
        assert reasons == {"AddedInterface": 60, "RemovedInterface": 20}
        for container in pods.values():
            call("DEL", container)


def test_a_worker_that_is_killed_in_the_middle_of_a_change_leaves_it_to_the_next_look(
    cluster: Cluster, cni_pod: Netns, web: Container, daemon: Daemon, tmp_path: Path
) -> None:
    cluster.bin.file("gate", GATE.format(folder=tmp_path, verb="gate").encode())
    cluster.nad("gated", {"cniVersion": "1.0.0", "type": "gate"})
    cluster.annotate("a,gated,b")
    eventually((tmp_path / "gate-ADD").exists)
    for pid in processes(daemon, "multus-worker"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    (tmp_path / "open").touch()
    becomes(lambda: sorted(shown(cluster)), ["eth0", "net1", "net3"])
    assert (tmp_path / "gate-DEL").exists()
    assert sorted(cni_pod.links()) == ["eth0", "net1", "net3"]
    assert shown(cluster)["net1"] == ["10.1.0.2"]
