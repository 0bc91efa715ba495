"""A node whose shim is still the Go Multus', or that the controller of dynamic networks uses."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from waiting import PATIENCE, becomes, eventually

from integration.daemon.node import Daemon
from integration.kube.cluster import NETWORKS, Cluster
from integration.peer.goclient import GoClient, Response, body
from multus.state.journal import Journal
from multus.testing.apiserver import ApiServer
from multus.testing.delegates import Reply
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Container

NONE_VALID: dict[str, Any] = {"cni.dev/valid-attachments": []}


@pytest.fixture
def api(cni_node: Node) -> Iterator[ApiServer]:
    """The daemon, which is in the node's namespace, has to reach it."""
    with ApiServer(netns=cni_node.path) as server:
        yield server


@frozen
class Served:
    """A node whose daemon serves Go's clients; ``conf`` is the shim's: it has no kubeconfig."""

    cluster: Cluster
    daemon: Daemon
    go: GoClient
    conf: dict[str, Any]

    def add(self, container: Container) -> dict[str, Any]:
        """ADD as the shim does it: it waits until the daemon is ready."""
        becomes(lambda: self.go.state("/readyz"), 200)
        return self.go.cni("ADD", self.conf, container, self.cluster.bin.path).result

    def delete(self, container: Container) -> None:
        assert self.go.state("/healthz") == 200
        found = self.go.cni("DEL", self.conf, container, self.cluster.bin.path)
        assert (found.status, found.body) == (200, b"")

    def bridge(self, name: str, subnet: str, **keys: Any) -> dict[str, Any]:
        """The configuration of a definition, which the controller sends."""
        return {
            "cniVersion": "0.3.1",
            "name": name,
            "type": "bridge",
            "bridge": f"br-{name}",
            "ipam": self.cluster.ipam(subnet),
            **keys,
        }

    def records(self) -> list[str]:
        keys = Journal(self.daemon.settings["cniDir"]).keys()
        return [ifname for _, ifname in sorted(keys)]


@pytest.fixture
def served(cluster: Cluster, cni_node: Node, tmp_path: Path) -> Iterator[Served]:
    settings = {
        "cniDir": f"{cluster.folder}/multus",
        "kubeconfig": cluster.kubeconfig,
        "nodeName": "n1",
        "logLevel": "verbose",
    }
    daemon = Daemon(tmp_path / "daemon", cni_node, settings)
    conf = cluster.default(kubeconfig=None, type="multus-shim", daemonSocketDir="/run/multus")
    yield Served(cluster, daemon.start(), GoClient(daemon.socket), conf)
    daemon.stop()


# --- /cni, as the shim calls it ------------------------------------------------------------------


def test_a_pod_comes_up_and_goes_with_the_shim_of_the_go_multus(
    served: Served, cni_pod: Netns
) -> None:
    served.cluster.bridge("back", "10.2.0")
    container = served.cluster.pod(cni_pod, {NETWORKS: "back"})
    result = served.add(container)
    assert set(cni_pod.links()) == {"eth0", "net1"}
    assert result["cniVersion"] == "1.0.0"
    assert result["ips"][0]["address"].startswith("10.10.0.")
    becomes(lambda: [each["interface"] for each in served.cluster.status()], ["eth0", "net1"])
    found = served.go.cni("CHECK", {**served.conf, "prevResult": result}, container)
    assert (found.status, found.body) == (200, b"")
    served.delete(container)
    assert cni_pod.links() == {}
    assert served.records() == []


def test_the_result_is_in_the_version_that_every_shim_reads(served: Served, cni_pod: Netns) -> None:
    served.conf["cniVersion"] = "0.3.1"
    assert served.add(served.cluster.pod(cni_pod))["cniVersion"] == "1.0.0"


def test_a_failed_add_answers_with_the_error_object_and_status_400(
    served: Served, cni_pod: Netns
) -> None:
    container = served.cluster.pod(cni_pod, {NETWORKS: "nowhere"})
    found = served.go.cni("ADD", served.conf, container, served.cluster.bin.path)
    assert found.status == 400
    assert found.headers["content-type"] == "application/json"
    assert "nowhere" in found.json["msg"]
    assert found.json["code"]
    assert cni_pod.links() == {}


def test_status_and_gc_need_no_pod(served: Served, cni_pod: Netns) -> None:
    conf = {**served.conf, "cniVersion": "1.1.0"}
    served.conf["cniVersion"] = "1.1.0"
    served.add(served.cluster.pod(cni_pod))
    becomes(lambda: served.go.cni("STATUS", conf, None, served.cluster.bin.path).status, 200)
    found = served.go.cni("GC", {**conf, **NONE_VALID}, None, served.cluster.bin.path)
    assert found.status == 200, found.body
    assert served.records() == []
    assert cni_pod.links() == {}


def test_a_daemon_without_kubeconfig_refuses_a_pod_whose_networks_it_cannot_know(
    served: Served, cni_pod: Netns
) -> None:
    served.daemon.stop()
    keys = {key: value for key, value in served.daemon.settings.items() if key != "kubeconfig"}
    daemon = evolve(served.daemon, settings=keys, process=None)
    daemon.start()
    try:
        container = served.cluster.pod(cni_pod)
        found = served.go.cni("ADD", served.conf, container, served.cluster.bin.path)
        assert (found.status, found.json["code"]) == (400, 7)
        assert "kubeconfig" in found.json["msg"]
        assert cni_pod.links() == {}
    finally:
        daemon.stop()


def test_variables_that_are_missing_are_what_the_go_multus_takes(
    served: Served, cni_pod: Netns
) -> None:
    named = served.cluster.pod(cni_pod).environ()
    del named["CNI_IFNAME"]
    found = served.go.post("/cni", body({"CNI_COMMAND": "ADD", **named}, served.conf))
    assert found.result["interfaces"][1]["name"] == "eth0"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_can_call_it(served: Served, cni_pod: Netns, tmp_path: Path) -> None:
    container = served.cluster.pod(cni_pod)
    environ = {"CNI_COMMAND": "ADD", "CNI_PATH": served.cluster.bin.path, **container.environ()}
    conf = {**served.conf, "comment": "x" * (2 << 20)}  # so large that curl asks before it sends
    (tmp_path / "body").write_bytes(body(environ, conf))
    socket = ["curl", "-s", "--unix-socket", str(served.daemon.socket)]
    data = ["--data-binary", f"@{tmp_path / 'body'}", "http://dummy/cni"]
    done = subprocess.run([*socket, *data], capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout)["Result"]["interfaces"]
    assert set(cni_pod.links()) == {"eth0"}


# --- /delegate, as the controller of dynamic networks calls it -----------------------------------


def test_a_network_is_attached_to_a_running_pod_and_detached(
    served: Served, cni_pod: Netns
) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    conf = served.bridge("hot", "10.5.0")
    result = served.go.delegate("ADD", conf, container, "net7").result
    assert set(cni_pod.links()) == {"eth0", "net7"}
    assert result["ips"][0]["address"].startswith("10.5.0.")
    assert served.go.delegate("CHECK", conf, container, "net7").status == 200
    events = "AddedInterface"
    eventually(
        lambda: any("net7" in text for _, kind, text in served.cluster.events() if kind == events)
    )
    assert [each["interface"] for each in served.cluster.status()] == ["eth0"]  # the client's part
    found = served.go.delegate("DEL", conf, container, "net7")
    assert (found.status, found.body) == (200, b"")
    assert set(cni_pod.links()) == {"eth0"}
    assert served.go.delegate("DEL", conf, container, "net7").status == 200
    assert served.go.delegate("CHECK", conf, container, "net7").status == 400
    served.go.cni("CHECK", served.conf, container, served.cluster.bin.path)
    served.delete(container)
    assert served.records() == []


def test_what_is_left_at_the_pods_del_goes_with_it(served: Served, cni_pod: Netns) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    for number in (1, 2):
        conf = served.bridge(f"hot{number}", f"10.{number}.0")
        served.go.delegate("ADD", conf, container, f"net{number}").result  # noqa: B018
    assert set(cni_pod.links()) == {"eth0", "net1", "net2"}
    served.delete(container)
    assert cni_pod.links() == {}
    assert not any(Path(served.cluster.folder, "ipam", "hot1").glob("10.*"))


def test_check_and_gc_of_the_pod_know_it(served: Served, cni_pod: Netns) -> None:
    served.conf["cniVersion"] = "1.1.0"
    container = served.cluster.pod(cni_pod)
    result = served.add(container)
    served.go.delegate("ADD", served.bridge("hot", "10.5.0"), container, "net1").result  # noqa: B018
    conf = {**served.conf, "prevResult": result}
    assert served.go.cni("CHECK", conf, container, served.cluster.bin.path).status == 200
    cni_pod.run("ip", "link", "del", "net1")
    found = served.go.cni("CHECK", conf, container, served.cluster.bin.path)
    assert found.status == 400
    assert "net1" in found.json["msg"]
    conf = {**served.conf, **NONE_VALID}
    assert served.go.cni("GC", conf, None, served.cluster.bin.path).status == 200
    assert not any(Path(served.cluster.folder, "ipam", "hot").glob("10.*"))


def test_mac_and_addresses_of_the_attributes_are_requested(served: Served, cni_pod: Netns) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    able = {"capabilities": {"mac": True, "ips": True}, "ipam": {"type": "static"}}
    conf = served.bridge("hot", "10.5.0", **able)
    mac, ips = "02:00:00:00:00:07", ["10.5.0.7/24"]
    found = served.go.delegate("ADD", conf, container, "net1", mac=mac, ips=ips)
    assert found.result["ips"][0]["address"] == "10.5.0.7/24"
    assert cni_pod.links()["net1"].mac == "02:00:00:00:00:07"


def test_cni_args_of_the_attributes_are_in_every_plugins_configuration(
    served: Served, cni_pod: Netns
) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    for name in ("one", "two"):
        served.cluster.bin.stand_in(name)
    plugins = [{"type": "one", "args": {"cni": {"mine": "kept"}}}, {"type": "two"}]
    conf = {"cniVersion": "1.0.0", "name": "hot", "plugins": plugins}
    served.go.delegate("ADD", conf, container, "net1", cni_args={"vlan": 7}).result  # noqa: B018
    given = [call.conf["args"]["cni"] for call in served.cluster.bin.calls]
    assert given == [{"mine": "kept", "vlan": 7}, {"vlan": 7}]


def test_a_network_that_fails_leaves_the_pod_as_it_was(served: Served, cni_pod: Netns) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    served.cluster.bin.stand_in("broken", ADD=Reply.error(100, "not today"))
    conf = {"cniVersion": "1.0.0", "name": "hot", "type": "broken"}
    found = served.go.delegate("ADD", conf, container, "net1")
    assert (found.status, found.json["code"]) == (400, 100)
    assert "not today" in found.json["msg"]
    assert served.cluster.bin.commands() == ["ADD broken net1", "DEL broken net1"]
    assert set(cni_pod.links()) == {"eth0"}
    served.delete(container)
    assert served.cluster.bin.commands() == ["ADD broken net1", "DEL broken net1"]


def test_an_interface_that_exists_and_the_primary_are_refused(
    served: Served, cni_pod: Netns
) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    conf = served.bridge("hot", "10.5.0")
    found = served.go.delegate("ADD", conf, container, "eth0")
    assert found.status == 400
    assert "eth0" in found.json["msg"]
    assert served.go.delegate("DEL", conf, container, "eth0").status == 400
    assert set(cni_pod.links()) == {"eth0"}


def test_a_pod_that_is_not_attached_gets_no_network(served: Served, cni_pod: Netns) -> None:
    container = served.cluster.pod(cni_pod)
    found = served.go.delegate("ADD", served.bridge("hot", "10.5.0"), container, "net1")
    assert (found.status, found.json["code"]) == (400, 3)
    assert cni_pod.links() == {}


def test_a_network_that_the_go_multus_attached_is_detached(served: Served, cni_pod: Netns) -> None:
    container, cluster = served.cluster.pod(cni_pod), served.cluster
    conf = served.bridge("hot", "10.5.0")
    other = evolve(container, ifname="net1")
    environ = {**cluster.runtime.environ, "CNI_COMMAND": "ADD", "CNI_PATH": cluster.bin.path}
    bridge = [f"{cluster.bin.path}/bridge"]
    subprocess.run(
        cluster.node.command(bridge),
        env={**environ, **other.environ()},
        input=json.dumps(conf).encode(),
        check=True,
        capture_output=True,
    )
    assert set(cni_pod.links()) == {"net1"}
    found = served.go.delegate("DEL", conf, container, "net1", path=cluster.bin.path)
    assert found.status == 200, found.body
    assert cni_pod.links() == {}


def test_it_survives_a_daemon_that_is_killed(served: Served, cni_pod: Netns) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    conf = served.bridge("hot", "10.5.0")
    served.go.delegate("ADD", conf, container, "net1").result  # noqa: B018
    served.daemon.kill()
    served.daemon.start()
    assert served.go.delegate("CHECK", conf, container, "net1").status == 200
    assert served.go.delegate("DEL", conf, container, "net1").status == 200
    assert set(cni_pod.links()) == {"eth0"}


def test_what_a_killed_worker_began_is_undone_and_the_pod_stays(
    served: Served, cni_pod: Netns, tmp_path: Path
) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    calls = tmp_path / "calls"
    script = f"echo $CNI_COMMAND >>{calls}\n[ $CNI_COMMAND != ADD ] || kill -9 $PPID\n"
    served.cluster.bin.file("killer", f"#!/bin/sh\n{script}".encode())
    conf = {"cniVersion": "1.0.0", "name": "hot", "type": "killer"}
    found = served.go.delegate("ADD", conf, container, "net1")
    assert (found.status, found.json["code"]) == (400, 11)
    eventually(lambda: calls.read_text().split() == ["ADD", "DEL"])
    assert set(cni_pod.links()) == {"eth0"}
    assert served.records() == ["eth0"]
    conf = served.bridge("hot", "10.5.0")
    assert served.go.delegate("ADD", conf, container, "net1").status == 200
    served.delete(container)
    assert calls.read_text().split() == ["ADD", "DEL"]


# --- The daemon's state --------------------------------------------------------------------------


class Thread:
    """A request in its own thread."""

    def __init__(self, ask: Callable[[], Response]) -> None:
        self._answers: list[Response] = []
        self._thread = threading.Thread(target=lambda: self._answers.append(ask()))
        self._thread.start()

    def answer(self) -> Response:
        self._thread.join(2 * PATIENCE)
        return self._answers[0]


class Gate:
    """A plugin that waits for a file."""

    def __init__(self, served: Served, folder: Path) -> None:
        self._path = folder / "gate"
        script = f"while [ ! -e {self._path} ]; do sleep 0.05; done\n"
        answer = """echo '{"cniVersion": "1.0.0"}'\n"""
        served.cluster.bin.file("gate", f"#!/bin/sh\n{script}{answer}".encode())

    def open(self) -> None:
        self._path.touch()


def test_readyz_says_500_once_the_daemon_stops_and_a_del_is_not_lost(
    served: Served, cni_pod: Netns, tmp_path: Path
) -> None:
    gate = Gate(served, tmp_path)
    container = served.cluster.pod(cni_pod)
    served.add(container)
    other = served.cluster.pod(cni_pod, name="other")
    conf = {**served.conf, "delegates": [{"type": "gate", "name": "gate"}]}
    held = Thread(lambda: served.go.cni("ADD", conf, other, served.cluster.bin.path))
    becomes(lambda: served.daemon.metric("multus_server_calls"), 1.0)
    assert served.daemon.process is not None
    served.daemon.process.terminate()
    becomes(lambda: served.go.state("/readyz"), 500)
    assert served.go.state("/healthz") == 200
    # The shim says that it succeeded whatever the answer is.
    assert served.go.cni("DEL", served.conf, container, served.cluster.bin.path).status == 400
    gate.open()
    assert held.answer().status == 200
    served.daemon.stop()
    assert "eth0" in cni_pod.links()
    served.daemon.start()
    becomes(lambda: set(cni_pod.links()), set())


def test_a_del_that_fails_is_repeated_by_the_daemon(served: Served, cni_pod: Netns) -> None:
    bin_dir = served.cluster.bin
    bin_dir.stand_in("busy", DEL=Reply.error(11, "not now"))
    conf = {**served.conf, "delegates": [{"type": "busy", "name": "busy"}]}
    container = served.cluster.pod(cni_pod)
    served.go.cni("ADD", conf, container, bin_dir.path).result  # noqa: B018
    assert served.go.cni("DEL", conf, container, bin_dir.path).status == 400
    bin_dir.stand_in("busy")
    becomes(served.records, [])


def test_requests_are_counted_with_the_labels_of_the_go_multus(
    served: Served, cni_pod: Netns
) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    served.go.delegate("DEL", served.bridge("hot", "10.5.0"), container, "net1")
    served.go.get("/nothing")
    name = "multus_server_request_total"

    def count(code: str, handler: str, method: str) -> float:
        labels = f'{{code="{code}",handler="{handler}",method="{method}"}}'
        return served.daemon.metric(name + labels)

    becomes(lambda: count("200", "/cni", "post"), 1.0)
    becomes(lambda: count("200", "/delegate", "post"), 1.0)
    becomes(lambda: count("404", "NotFound", "get"), 1.0)
    assert count("200", "/readyz", "post") >= 1
