"""The stand-in implements the real protocol: kubectl works with it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from waiting import PATIENCE

from multus.testing.apiserver import CORE_KINDS, ApiServer, Container, Fault

needs_kubectl = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")

TPR = """\
apiVersion: extensions/v1beta1
kind: ThirdPartyResource
metadata:
  name: network.kubernetes-network.cni.cncf.io
description: "A specification of a Network obj in the kubernetes"
versions:
- name: v1
"""
NETWORK = """\
apiVersion: kubernetes-network.cni.cncf.io/v1
kind: Network
metadata:
  name: flannel-conf
plugin: flannel
args: '[{"delegate": {"isDefaultGateway": true}}]'
"""


def kubectl(api: ApiServer, home: Path, *arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["kubectl", "--kubeconfig", api.write_kubeconfig(home), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(home)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_kubectl
def test_kubectl_creates_a_kind_and_an_object_of_it(tmp_path: Path) -> None:
    with ApiServer(CORE_KINDS) as api:
        kubectl(api, tmp_path, "create", "--validate=false", "-f", "-", stdin=TPR)
        assert (
            kubectl(api, tmp_path, "create", "--validate=false", "-f", "-", stdin=NETWORK)
            == "network.kubernetes-network.cni.cncf.io/flannel-conf created\n"
        )
        shown = json.loads(kubectl(api, tmp_path, "get", "network", "flannel-conf", "-o", "json"))
        assert shown["plugin"] == "flannel"
        assert shown["metadata"]["resourceVersion"]
        kubectl(api, tmp_path, "delete", "network", "flannel-conf", "--wait=false")
        assert kubectl(api, tmp_path, "get", "networks", "-o", "name") == ""


@needs_kubectl
def test_kubectl_patches_a_pods_status(tmp_path: Path) -> None:
    asked = ["kubectl", "patch", "--help"]
    if "--subresource" not in subprocess.run(asked, capture_output=True, text=True).stdout:
        pytest.skip("kubectl patches no status, as 1.20 of Debian 12")
    with ApiServer() as api:
        api.create_pod("web")
        patch = json.dumps({"metadata": {"annotations": {"a": "b"}}, "spec": {"nodeName": "x"}})
        arguments = ("--subresource=status", "--type=merge", "-p", patch)
        kubectl(api, tmp_path, "patch", "pod", "web", *arguments)
        stored = json.loads(kubectl(api, tmp_path, "get", "pod", "web", "-o", "json"))
        assert stored["metadata"]["annotations"] == {"a": "b"}
        assert stored["spec"]["nodeName"] == "n1"


def test_it_runs_as_a_separate_process_and_takes_commands(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(NETWORK)
    command = [sys.executable, "-m", "multus.testing.apiserver", "--directory", str(tmp_path / "d")]
    process = subprocess.Popen(
        [*command, "--objects", str(tmp_path / "net.yaml")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        network = "/apis/kubernetes-network.cni.cncf.io/v1/namespaces/default/networks/flannel-conf"
        assert _call(tmp_path, url, network)[0] == 200
        fault = {"kind": "status", "code": 503, "path": "*flannel-conf"}
        assert _call(tmp_path, url, "/stand-in/faults", fault)[0] == 200
        assert _call(tmp_path, url, network)[0] == 503
        assert _call(tmp_path, url, network)[0] == 200
        assert _call(tmp_path, url, "/stand-in/requests")[1]["requests"] == {f"GET {network}": 3}
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def _call(
    directory: Path, url: str, path: str, body: dict[str, object] | None = None
) -> tuple[int, dict[str, dict[str, int]]]:
    import urllib3

    config = json.loads((directory / "d" / "kubeconfig").read_text())
    pool = urllib3.PoolManager(ca_certs=str(directory / "d" / "ca.crt"))
    headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
    method = "POST" if body else "GET"
    sent = json.dumps(body).encode() if body else None
    answer = pool.request(method, url + path, headers=headers, body=sent, retries=False)
    return answer.status, answer.json()


def test_an_unknown_fault_is_refused(tmp_path: Path) -> None:
    with ApiServer() as api, pytest.raises(ValueError, match="unknown fault"):
        api.faults.add(Fault("sulk"))


def test_odd_objects_are_listed_and_watched_unchanged() -> None:
    def ask(path: str) -> list[bytes]:
        url, headers = (
            f"{api.url}/api/v1/pods{path}",
            {"Authorization": f"Bearer {api.access.token}"},
        )
        trust = ssl.create_default_context(cadata=api.ca_pem.decode())
        asked = urllib.request.Request(url, headers=headers)  # noqa: S310  it is https
        with urllib.request.urlopen(asked, context=trust) as answer:  # noqa: S310
            return list(answer)

    with ApiServer() as api:
        api.odd.append({"metadata": 5})
        (text,) = ask("")
        assert json.loads(text)["items"] == [{"metadata": 5}]
        (event,) = ask("?watch=1&timeoutSeconds=0.3")
        assert json.loads(event) == {"type": "MODIFIED", "object": {"metadata": 5}}


@needs_kubectl
@pytest.mark.parametrize("websockets", ["true", "false"])
def test_kubectl_runs_a_command_in_a_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, websockets: str
) -> None:
    """Over WebSocket, and over SPDY, which kubectl before 1.31 has alone."""
    monkeypatch.setenv("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets)
    with ApiServer() as api:
        api.create_pod("web")
        api.containers["default", "web", "web"] = Container(("env",), {"GIVEN": "x"})
        command = ["exec", "-i", "web", "-c", "web", "--", "sh", "-c"]
        argv = ["kubectl", "--kubeconfig", api.write_kubeconfig(tmp_path), *command]
        script = "cat; echo $GIVEN >&2; exit 7"
        long = "line\n" * 100_000
        done = subprocess.run([*argv, script], input=long, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (7, long)
        assert done.stderr.startswith("x\n")
        assert subprocess.run([*argv, "true"], stdin=subprocess.DEVNULL).returncode == 0
        assert api.last_headers["Upgrade"].lower() in ("websocket", "spdy/3.1")
