"""A node's switch from the Go Multus, in the order of docs/migration.md: beside, switch, back."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import define, field
from repository import ROOT
from waiting import eventually

from integration.cli.conftest import MadeUpNode, Pods
from integration.daemon.node import Daemon
from integration.kube.cluster import NETWORKS, Cluster
from integration.peer import left
from integration.peer.attached import Network, attach
from integration.peer.test_install_over import tree
from multus.cli.upstream.carrying import HOST, SHARED
from multus.cni import shim
from multus.testing.netns import Netns
from multus.testing.runtime import Container, Runtime

#: Every name in the manifests of the Go Multus.
ITS_OBJECTS = {
    ("ServiceAccount", "multus"),
    ("ClusterRole", "multus"),
    ("ClusterRoleBinding", "multus"),
    ("ConfigMap", "multus-cni-config"),
    ("ConfigMap", "multus-daemon-config"),
    ("DaemonSet", "kube-multus-ds"),
}
ITS_LABELS = {"tier": "node", "app": "multus", "name": "multus"}


@define
class ItsDaemon:
    """The socket of the Go Multus' daemon: HTTP, no lock, and the path is removed at its end."""

    path: Path
    listener: socket.socket = field(factory=lambda: socket.socket(socket.AF_UNIX))

    def start(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.listener.bind(str(self.path))
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                if connection.recv(65536):
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    def stop(self) -> None:
        self.path.unlink(missing_ok=True)
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def daemon(made_up: MadeUpNode, cni_node: Netns) -> Iterator[Daemon]:
    """The daemon of this node, with the socket that both programs have."""
    settings = {"cniDir": str(made_up.folder / "state")}
    daemon = Daemon(made_up.folder / "daemon", cni_node, settings)
    yield daemon
    daemon.stop()


@pytest.fixture
def its_daemon(daemon: Daemon) -> Iterator[ItsDaemon]:
    found = ItsDaemon(daemon.socket)
    found.start()
    yield found
    if found.listener.fileno() >= 0:
        found.stop()


def container(name: str) -> dict[str, Any]:
    (wire,) = yaml.safe_load_all((ROOT / "deploy/daemonset/daemonset.yaml").read_text())
    spec = wire["spec"]["template"]["spec"]
    found = next(e for e in spec["initContainers"] + spec["containers"] if e["name"] == name)
    return dict(found)


def install(made_up: MadeUpNode, settings: Any, kubeconfig: str = "") -> str:
    """The command of the DaemonSet's init container, with this node's folders."""
    own = made_up.write("config/multus.json", settings)
    given = {"/etc/cni/multus/multus.json": str(own), "300": "0"}
    arguments = [given.get(each, each) for each in container("install")["args"]]
    done = made_up.run(
        *arguments,
        *("--net-d", made_up.folder / "net.d", "--bin-dir", made_up.bin.path),
        *("--kubeconfig", kubeconfig or made_up.kubeconfig("own.kubeconfig")),
        *("--program", the_shim(made_up)),
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def the_shim(made_up: MadeUpNode) -> Path:
    """The installed shim in C; where no compiler was, the one in Python."""
    found = Path(sys.executable).with_name("multus-shim")
    return found if found.exists() else made_up.write("multus-shim", shim.launcher(), 0o755)


def conf_of(made_up: MadeUpNode) -> dict[str, Any]:
    """What the runtime passes to the plugin that it finds."""
    whole = json.loads((made_up.folder / "net.d" / "00-multus.conflist").read_text())
    keys = {**whole["plugins"][0], "name": whole["name"], "cniVersion": whole["cniVersion"]}
    del keys["kubeconfig"]
    return keys


def runtime(made_up: MadeUpNode, daemon: Daemon) -> Runtime:
    environ = {"PATH": os.environ["PATH"], "MULTUS_SOCKET": str(daemon.socket)}
    program = os.path.join(made_up.bin.path, "multus")
    return Runtime((program,), made_up.bin.path, made_up.host, environ=environ)


def settings(made_up: MadeUpNode) -> dict[str, Any]:
    return {"cniVersion": "0.3.1", "cniDir": "/var/lib/cni/multus"} | {
        "namespaceIsolation": True,
        "binDir": made_up.bin.path,
    }


def test_a_node_is_switched_while_its_old_daemon_still_ends(
    made_up: MadeUpNode, daemon: Daemon, its_daemon: ItsDaemon, cni_pod: Netns
) -> None:
    left.lan(made_up, cniVersion="0.3.1")
    left.thick(made_up)
    install(made_up, settings(made_up))
    # From now on no pod gets the cluster's network alone: an ADD fails, and is repeated.
    daemon.spawn()
    conf = {**conf_of(made_up), "cniDir": str(made_up.folder / "state")}
    pod = Container(cni_pod.path)
    answer = runtime(made_up, daemon).add(conf, pod)
    assert answer.error["code"] == 11
    assert cni_pod.links() == {}
    eventually(lambda: "waiting" in daemon.log)
    its_daemon.stop()
    daemon.wait()
    result = runtime(made_up, daemon).add(conf, pod).result
    assert cni_pod.addresses("eth0") == [result["ips"][0]["address"]]
    runtime(made_up, daemon).delete(conf, pod).require()
    assert cni_pod.links() == {}


def test_a_delete_meanwhile_is_kept_for_the_new_daemon(
    made_up: MadeUpNode, daemon: Daemon, its_daemon: ItsDaemon, cni_pod: Netns
) -> None:
    left.lan(made_up, cniVersion="0.3.1")
    left.thick(made_up)
    install(made_up, settings(made_up))
    conf = {**conf_of(made_up), "cniDir": str(made_up.folder / "state")}
    runtime(made_up, daemon).delete(conf, Container(cni_pod.path)).require()
    spool = made_up.folder / "state" / ".spool"
    assert len(list(spool.iterdir())) == 1
    its_daemon.stop()
    daemon.start()
    eventually(lambda: list(spool.iterdir()) == [])


def test_programs_that_look_in_another_folder_find_the_socket(
    made_up: MadeUpNode, cni_node: Netns
) -> None:
    """As on OpenShift, where it is a folder below the usual one."""
    folder = made_up.folder / "daemon"
    its_daemon = ItsDaemon(folder / "run" / "socket" / "multus.sock")
    its_daemon.start()
    settings = {"cniDir": f"{made_up.folder}/state", "socketLinkDir": str(its_daemon.path.parent)}
    daemon = Daemon(folder, cni_node, settings)
    daemon.spawn()
    eventually(lambda: "waiting" in daemon.log)
    its_daemon.stop()
    daemon.wait()
    try:
        environ = {b"MULTUS_SOCKET": os.fsencode(its_daemon.path)}
        assert shim.control(environ, b"health")[0] == 0
    finally:
        daemon.stop()
    daemon.start()
    daemon.stop()


def test_a_daemon_that_waits_for_the_old_one_can_be_stopped(
    daemon: Daemon, its_daemon: ItsDaemon
) -> None:
    daemon.spawn()
    eventually(lambda: "waiting" in daemon.log)
    daemon.stop()
    assert its_daemon.path.exists()


def test_the_way_back_restores_every_file(
    made_up: MadeUpNode, daemon: Daemon, cni_pod: Netns
) -> None:
    left.lan(made_up, cniVersion="0.3.1")
    left.thick(made_up)
    before = tree(made_up.folder / "net.d", made_up.bin.path)
    install(made_up, settings(made_up))
    daemon.start()
    conf = {**conf_of(made_up), "cniDir": str(made_up.folder / "state")}
    pod = Container(cni_pod.path)
    runtime(made_up, daemon).add(conf, pod).require()
    folders = ("--net-d", made_up.folder / "net.d", "--cni-dir", made_up.folder / "state")
    # Pods that are attached here have to go first: the Go Multus knows nothing of them.
    assert "still attached" in made_up.run("uninstall", *folders).stdout
    assert (made_up.folder / "net.d" / "00-multus.conf").exists()
    runtime(made_up, daemon).delete(conf, pod).require()
    assert made_up.run("uninstall", *folders).returncode == 0
    assert tree(made_up.folder / "net.d", made_up.bin.path) == before


@pytest.fixture
def node_with_api(cluster: Cluster, cni_program: Sequence[str]) -> MadeUpNode:
    folder = Path(cluster.folder)
    return MadeUpNode(folder, cluster.node, cluster.bin, cni_program, cluster.runtime)


def test_pods_from_before_and_after_the_switch_are_served_without_draining(
    node_with_api: MadeUpNode, cluster: Cluster, cni_pods: Pods
) -> None:
    node, old, new = node_with_api, cni_pods(), cni_pods()
    master = left.lan(node, cniVersion="1.0.0")
    left.thick(node)
    before = cluster.pod(old, name="before")
    attach(cluster, before, Network("cluster-lan", master["plugins"]))
    assert old.addresses("eth0") != []
    install(node, {**settings(node), "cniVersion": "1.0.0"}, cluster.kubeconfig)
    conf = {**conf_of(node), "cniDir": f"{cluster.folder}/multus"}
    conf |= {
        "kubeconfig": cluster.kubeconfig,
        "tenantPaths": {"dataDir": [f"{cluster.folder}/ipam"]},
    }
    cluster.bridge("storage", "10.79.0")
    after = cluster.pod(new, {NETWORKS: "storage"}, name="after")
    daemon = Daemon(node.folder / "daemon", cluster.node, {"cniDir": f"{cluster.folder}/state"})
    daemon.start()
    try:
        runtime(node, daemon).delete(conf, before).require()
        assert old.links() == {}
        assert not (node.folder / "multus" / before.id).exists()
        runtime(node, daemon).add(conf, after).require()
        assert new.addresses("eth0")[0].startswith("10.78.0.")
        assert new.addresses("net1")[0].startswith("10.79.0.")
        runtime(node, daemon).delete(conf, after).require()
        assert new.links() == {}
    finally:
        daemon.stop()


# --- The objects ----------------------------------------------------------------------------------


def ours() -> Iterator[dict[str, Any]]:
    for folder in ("rbac", "daemonset"):
        for path in (ROOT / "deploy" / folder).glob("*.yaml"):
            yield from yaml.safe_load_all(path.read_text())


def test_no_object_has_the_name_of_one_of_the_go_multus() -> None:
    names = {(each["kind"], each["metadata"]["name"]) for each in ours()}
    generated = yaml.safe_load((ROOT / "deploy/kustomization.yaml").read_text())
    names |= {("ConfigMap", each["name"]) for each in generated["configMapGenerator"]}
    assert names & ITS_OBJECTS == set()
    assert {name for _, name in names} == {"multus-python"}


def test_neither_daemonset_selects_the_others_pods() -> None:
    (wire,) = (each for each in ours() if each["kind"] == "DaemonSet")
    selector = wire["spec"]["selector"]["matchLabels"]
    labels = wire["spec"]["template"]["metadata"]["labels"]
    assert not selector.items() <= ITS_LABELS.items()
    assert labels.get("name") != ITS_LABELS["name"]


@pytest.mark.parametrize("name", ["install", "daemon", "refresh"])
def test_every_container_sees_the_folders_that_carried_paths_may_name(name: str) -> None:
    mounted = {each["mountPath"] for each in container(name)["volumeMounts"]}
    assert mounted >= set(SHARED)
    assert name != "daemon" or HOST in mounted


def kubectl(*arguments: str | Path) -> list[dict[str, Any]]:
    """The objects that a command without a cluster prints."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    argv = ["kubectl", *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture
def page() -> list[Any]:
    """The objects that the migration page shows in its steps: the patch, and the overlay."""
    steps = (ROOT / "docs" / "migration.md").read_text().partition("\n## In a cluster\n")[2]
    blocks = re.findall(r"^ *```yaml\n(.*?)^ *```$", steps, re.MULTILINE | re.DOTALL)
    return [yaml.safe_load(textwrap.dedent(each)) for each in blocks]


def test_the_pages_overlay_has_the_converted_settings_and_the_label(
    made_up: MadeUpNode, tmp_path: Path, page: list[Any]
) -> None:
    given = made_up.write("daemon-config.json", {**left.DAEMON_CONFIG, "metricsPort": 9091})
    done = made_up.run("convert", "-f", given)
    assert done.returncode == 0, done.stderr
    (tmp_path / "settings.yaml").write_text(done.stdout)
    overlay = {**page[1], "resources": [os.path.relpath(ROOT / "deploy", tmp_path)]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    wires = kubectl("kustomize", tmp_path)
    (settings,) = (each for each in wires if each["kind"] == "ConfigMap")
    assert json.loads(settings["data"]["daemon.json"])["metricsPort"] == 9091
    assert json.loads(settings["data"]["multus.json"])["cniVersion"] == "0.3.1"
    (daemonset,) = (each for each in wires if each["kind"] == "DaemonSet")
    pod = daemonset["spec"]["template"]["spec"]
    assert pod["volumes"][0]["configMap"]["name"] == settings["metadata"]["name"]
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux", "multus-python": "yes"}
    assert pod["containers"][0]["image"].startswith("registry.example/multus:")


def test_the_pages_patch_lets_the_other_daemonset_leave_a_node(
    tmp_path: Path, page: list[Any]
) -> None:
    container = {"name": "kube-multus", "image": "multus"}
    template = {"metadata": {"labels": ITS_LABELS}, "spec": {"containers": [container]}}
    wire = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "kube-multus-ds", "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": {"name": "multus"}}, "template": template},
    }
    (tmp_path / "its.yaml").write_text(yaml.safe_dump(wire))
    (tmp_path / "leave.yaml").write_text(yaml.safe_dump(page[0]))
    given = ("--patch-file", tmp_path / "leave.yaml", "-f", tmp_path / "its.yaml")
    (patched,) = kubectl("patch", "--local", "-o", "yaml", *given)
    assert patched["spec"]["updateStrategy"]["type"] == "OnDelete"
    spec = patched["spec"]["template"]["spec"]
    assert spec["containers"][0]["name"] == "kube-multus"
    kept = "requiredDuringSchedulingIgnoredDuringExecution"
    (term,) = spec["affinity"]["nodeAffinity"][kept]["nodeSelectorTerms"]
    (expression,) = term["matchExpressions"]
    assert expression == {"key": "multus-go", "operator": "NotIn", "values": ["no"]}
