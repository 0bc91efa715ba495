"""``kubectl multus``: real kubectl finds the program, which asks ``multus`` on several nodes."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from integration.cli.terminal import on_terminal
from integration.kube.manynodes import NAMESPACE, ManyNodes
from multus.testing.apiserver import ApiServer, Container, Fault
from multus.testing.netns import Netns, Node

LONG = "ip-10-0-121-204.eu-central-1.compute.internal"

_N = TypeVar("_N", bound=Netns)

pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")


@pytest.fixture
def many(tmp_path: Path, cni_node: Node, cni_pods: Callable[[], Netns]) -> Iterator[ManyNodes]:
    """Two nodes without anything attached."""
    with ApiServer() as api:
        many = ManyNodes(api, tmp_path, cni_node, cni_pods)
        many.add("node-a")
        many.add("node-b")
        yield many


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManyNodes]:
    """Two nodes with pods of two namespaces, and one without Multus; tests only look at them."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root, at least of a user namespace")
    with ApiServer() as api, ExitStack() as undo:

        def kept(namespace: _N) -> _N:
            undo.callback(namespace.remove)
            return namespace

        folder, node = tmp_path_factory.mktemp("busy"), kept(Node.create())
        many = ManyNodes(api, folder, node, lambda: kept(Netns.create("pod")))
        first, second = many.add("node-a"), many.add("node-b")
        many.attach(first, "shop", "web")
        many.attach(first, "default", "db")
        many.attach(second, "shop", "cart")
        many.add(LONG, phase="")
        yield many


def row(text: str, start: str) -> list[str]:
    """The cells of the only line that starts so."""
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return re.split(r" {2,}", line)


class TestStatus:
    def test_nodes_stand_side_by_side(self, busy: ManyNodes) -> None:
        done = busy.run("status")
        assert done.returncode == 3, done.stderr
        assert row(done.stdout, "NODE")[:2] == ["NODE", "STATE"]
        assert row(done.stdout, "node-a")[1:] == [
            "ok",
            "0.1.0",
            "2",
            "15% lan 10.61.0.1-10.61.0.14",
        ]
        assert row(done.stdout, "node-b")[1:] == ["ok", "0.1.0", "1", "8% lan 10.62.0.1-10.62.0.14"]
        assert row(done.stdout, LONG)[1] == "not asked"
        assert f"? {LONG}: node: Multus has no pod on this node" in done.stdout

    def test_a_finding_of_several_nodes_is_said_once(self, many: ManyNodes) -> None:
        for node in many.nodes.values():
            (node.host / "etc/cni/net.d/00-multus.conf").write_text("{")
        done = many.run("status")
        assert done.returncode == 1
        assert row(done.stdout, "node-a")[1] == "1 problem"
        assert len(re.findall("node-a, node-b: configuration", done.stdout)) == 1

    def test_nodes_that_cannot_be_asked_say_why(self, many: ManyNodes) -> None:
        many.add("node-c", phase="")
        many.add("node-d", phase="Pending")
        many.add("node-e", ready="Unknown")
        said = "error dialing backend: dial tcp 10.0.0.5:10250: i/o timeout"
        path = f"*/{many.nodes['node-e'].pod}/exec"
        many.api.faults.add(Fault("status", path=path, times=0, message=said))
        done = many.run("status")
        assert done.returncode == 3
        assert [row(done.stdout, f"node-{each}")[1] for each in "abcde"] == [
            *("ok", "ok", "not asked", "not asked", "no answer")
        ]
        assert "node-c: node: Multus has no pod on this node" in done.stdout
        assert "node-d: node: pod multus-python-node-d of Multus is Pending" in done.stdout
        assert "i/o timeout" in done.stdout
        assert "the node is not Ready" in done.stdout

    def test_what_is_no_report_is_quoted(self, many: ManyNodes) -> None:
        old = Container(("sh", "-c", "echo no such command >&2; exit 2"))
        many.api.containers[NAMESPACE, many.nodes["node-b"].pod, "daemon"] = old
        done = many.run("status")
        assert done.returncode == 3
        assert row(done.stdout, "node-b")[1] == "no answer"
        assert "no such command" in done.stdout

    def test_a_pod_that_runs_is_asked_before_one_that_ends(self, many: ManyNodes) -> None:
        """During an update a node has two pods of Multus."""
        metadata = {
            "name": "multus-python-000",
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/name": "multus-python"},
            "deletionTimestamp": "2026-01-01T00:00:00Z",
        }
        spec = {"nodeName": "node-a", "containers": [{"name": "daemon"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        many.api.create({**pod, "status": {"phase": "Running"}})
        done = many.run("status", "node-a", "-o", "wide")
        assert done.returncode == 0, done.stdout
        assert row(done.stdout, "node-a")[-1] == "multus-python-node-a"

    def test_windows_nodes_are_left_out_and_labels_choose(self, many: ManyNodes) -> None:
        labels = {"kubernetes.io/os": "windows", "rack": "a"}
        metadata = {"name": "node-w", "labels": labels}
        many.api.create({"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        assert many.run("status", "-o", "name").stdout.split() == ["node/node-a", "node/node-b"]
        assert many.run("status", "-o", "name", "-l", "rack=a").stdout.split() == ["node/node-a"]

    @pytest.mark.parametrize("form", ["json", "yaml"])
    def test_programs_get_each_nodes_own_report(self, busy: ManyNodes, form: str) -> None:
        done = busy.run("status", "-o", form)
        nodes = (json.loads if form == "json" else yaml.safe_load)(done.stdout)["nodes"]
        found = {each["node"]: each.get("report", {}).get("containers") for each in nodes}
        assert found == {"node-a": 2, "node-b": 1, LONG: None}

    @pytest.mark.parametrize("columns", [60, 80, 120])
    def test_no_line_is_too_wide(self, busy: ManyNodes, columns: int) -> None:
        environ = [f"{key}={busy.environ[key]}" for key in ("PATH", "KUBECONFIG", "HOME")]
        command = busy.command("status", "--timeout=60")
        with on_terminal(["env", *environ, *command], columns) as terminal:
            assert terminal.ended() == 3
        assert terminal.too_wide() == []


class TestRefusals:
    def test_what_rbac_forbids_is_said(self, many: ManyNodes) -> None:
        many.api.forbidden |= {("create", "pods/exec"), ("get", "pods/exec")}
        done = many.run("status")
        assert done.returncode == 3
        assert "pods/exec" in done.stdout
        many.api.forbidden.add(("list", "nodes"))
        done = many.run("status")
        assert done.returncode == 1
        assert "nodes" in done.stderr
        assert done.stdout == ""

    def test_a_cluster_without_multus_says_so(self, many: ManyNodes) -> None:
        done = many.run("status", "--multus-namespace", "elsewhere")
        assert done.returncode == 1
        assert "namespace elsewhere has no pod of Multus" in done.stderr

    def test_flags_reach_kubectl(self, many: ManyNodes) -> None:
        done = many.run("status", "--context", "no-such-context")
        assert done.returncode == 1
        assert "no-such-context" in done.stderr


class TestAttachments:
    def test_rows_are_of_one_namespace_or_of_all(self, busy: ManyNodes) -> None:
        done = busy.run("attachments", "-n", "shop")
        assert done.returncode == 3, done.stderr
        assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [
            *(["node-a", "shop/web"], ["node-b", "shop/cart"])
        ]
        assert "10.61.0." in row(done.stdout, "node-a")[4]
        assert [line.split()[1] for line in busy.run("attachments").stdout.splitlines()[1:]] == [
            "default/db"
        ]
        assert len(busy.run("attachments", "-A").stdout.splitlines()) == 4

    def test_names_and_labels_choose_pods(self, busy: ManyNodes) -> None:
        named = busy.run("attachments", "-A", "cart", "-o", "name")
        assert named.stdout.split() == ["pod/cart"]
        labelled = busy.run("attachments", "-A", "-l", "app=web", "-o", "name")
        assert labelled.stdout.split() == ["pod/web"]

    def test_programs_get_records_and_failures(self, busy: ManyNodes) -> None:
        done = busy.run("attachments", "-A", "-o", "json", "--network", "lan")
        assert done.returncode == 3
        found = {each["node"]: each for each in json.loads(done.stdout)["nodes"]}
        records = found["node-a"]["report"]["records"]
        assert {each["pod"] for each in records} == {"shop/web", "default/db"}
        assert found[LONG]["failure"] == "Multus has no pod on this node"
        assert f"{LONG}: Multus has no pod" in done.stderr


NET: dict[str, Any] = {
    "apiVersion": "k8s.cni.cncf.io/v1",
    "kind": "NetworkAttachmentDefinition",
    "metadata": {"name": "storage", "namespace": "shop"},
    "spec": {"config": '{"cniVersion": "1.0.0", "type": "bridge", "bridge": "br-storage"}'},
}
WANTED = {"k8s.v1.cni.cncf.io/networks": "storage"}


class TestExplain:
    @pytest.fixture
    def online(self, many: ManyNodes) -> ManyNodes:
        many.api.create(NET)
        for node in many.nodes.values():
            conf = {**many.configuration(), "kubeconfig": "/etc/cni/net.d/kubeconfig"}
            node.write("etc/cni/net.d/00-multus.conf", conf)
            many.api.write_kubeconfig(node.host / "etc/cni/net.d")
        return many

    def test_a_pod_is_explained_on_its_node(self, online: ManyNodes) -> None:
        online.api.create_pod("web", WANTED, namespace="shop", node="node-b")
        done = online.run("explain", "web", "-n", "shop")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.startswith("on node node-b")
        assert "br-storage" in done.stdout

    def test_a_pod_of_a_file_uses_the_clusters_definitions(self, online: ManyNodes) -> None:
        metadata = {"name": "new", "namespace": "shop", "annotations": WANTED}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
        done = online.run("explain", "-f", "-", "-o", "json", stdin=json.dumps(pod))
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert found["node"] == "node-a"
        assert "br-storage" in done.stdout

    def test_devices_of_a_pod_that_does_not_exist_are_not_checked(self, online: ManyNodes) -> None:
        resource = {"k8s.v1.cni.cncf.io/resourceName": "example.com/vf"}
        metadata = {**NET["metadata"], "name": "fast", "annotations": resource}
        online.api.create({**NET, "metadata": metadata})
        wanted = {"k8s.v1.cni.cncf.io/networks": "fast"}
        metadata = {"name": "new", "namespace": "shop", "annotations": wanted}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
        done = online.run("explain", "-f", "-", stdin=json.dumps(pod))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "which device of example.com/vf network 'shop/fast' gets" in done.stdout

    def test_a_pod_without_a_node_needs_one(self, online: ManyNodes) -> None:
        online.api.create_pod("web", WANTED, namespace="shop", node="")
        done = online.run("explain", "web", "-n", "shop")
        assert done.returncode == 1
        assert "has no node yet" in done.stderr
        assert online.run("explain", "web", "-n", "shop", "--node", "node-a").returncode == 0

    def test_it_needs_a_pod_or_a_file(self, many: ManyNodes) -> None:
        assert many.run("explain").returncode == 2


class TestDoctor:
    def test_findings_name_their_nodes(self, many: ManyNodes) -> None:
        os.unlink(many.nodes["node-b"].host / "opt/cni/bin/multus")
        done = many.run("doctor")
        assert done.returncode == 1
        assert "✗ node-b: program: /opt/cni/bin/multus is missing" in done.stdout
        assert "? node-a, node-b: leaks" in done.stdout
        assert re.search(r"^✗ 2 node\(s\): \d+ ok, 2 problem", done.stdout, re.MULTILINE)
        assert "✓" not in done.stdout
        assert "✓" in many.run("doctor", "-o", "wide").stdout
        assert many.run("doctor", "-o", "name").stdout == "node/node-b\n"

    def test_words_after_two_dashes_reach_the_node(self, many: ManyNodes) -> None:
        done = many.run("doctor", "node-a", "-o", "json", "--", "--net-d", "/nowhere")
        assert "/nowhere" in done.stdout
