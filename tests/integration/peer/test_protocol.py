"""A node whose shim is still the Go Multus'."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve
from waiting import PATIENCE, becomes, eventually

from integration.kube.cluster import NETWORKS
from integration.peer.goclient import Response, body
from integration.peer.served import NONE_VALID, Served
from multus.testing.delegates import Reply
from multus.testing.netns import Netns

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
        self._path, self._reached = folder / "gate", folder / "reached"
        script = f": >{self._reached}\nwhile [ ! -e {self._path} ]; do sleep 0.05; done\n"
        answer = """echo '{"cniVersion": "1.0.0"}'\n"""
        served.cluster.bin.file("gate", f"#!/bin/sh\n{script}{answer}".encode())

    def wait(self) -> None:
        """Until a call has reached it."""
        eventually(self._reached.exists)

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
    gate.wait()
    assert served.daemon.process is not None
    try:
        served.daemon.process.terminate()
        becomes(lambda: served.go.state("/readyz"), 500)
        assert served.go.state("/healthz") == 200
        deleted = served.go.cni("DEL", served.conf, container, served.cluster.bin.path)
    finally:
        gate.open()
    assert held.answer().status == 200
    served.daemon.stop()
    # The shim says that it succeeded whatever the answer is.  A worker that has not heard of the
    # end yet may carry it out.
    assert deleted.status in (200, 400)
    assert ("eth0" in cni_pod.links()) is (deleted.status == 400)
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
