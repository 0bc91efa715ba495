"""Device information files: the device plugin's, the CNI plugin's, and the pod's status."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.blackbox.program import refused
from integration.kube.cluster import NETWORKS, Cluster
from integration.kube.kubelet import Kubelet, Pods
from integration.peer.attached import Network, attach
from multus.api import deviceinfo
from multus.testing.delegates import Reply
from multus.testing.netns import Netns
from multus.testing.runtime import Answer, Container

RESOURCE_NAME = "k8s.v1.cni.cncf.io/resourceName"
DEVICE = "0000:03:02.0"
INFO = {
    "type": "pci",
    "version": "1.1.0",
    "pci": {"pci-address": DEVICE, "pf-pci-address": "0000:03:00.0"},
}
VDPA = {"type": "vdpa", "version": "1.1.0", "vdpa": {"driver": "vhost", "path": "/dev/vhost-0"}}
CAPABLE: dict[str, Any] = {"capabilities": {"CNIDeviceInfoFile": True}}

#: A plugin that notes the content of its file, and at ADD writes what the configuration says.
CARD = """#!{python}
import json, os, sys
verb, conf = os.environ["CNI_COMMAND"], json.load(sys.stdin)
path = conf.get("runtimeConfig", {{}}).get("CNIDeviceInfoFile", "")
there = open(path).read() if path and os.path.exists(path) else None
with open({log!r}, "a") as log:
    print(json.dumps([verb, path, there and json.loads(there)]), file=log)
if verb == "ADD":
    if conf.get("writes"):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            json.dump(conf["writes"], file)
    link = {{"name": os.environ["CNI_IFNAME"], "sandbox": os.environ["CNI_NETNS"]}}
    print(json.dumps({{"cniVersion": "1.0.0", "interfaces": [link]}}))
"""


class Node:
    """A node with a device plugin that describes its only device, and a CNI plugin."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        # The folder is the node's own: the name of the resource keeps tests apart.
        self.resource = f"test.example/r{os.getpid()}-{os.urandom(4).hex()}"
        self.described = Path(deviceinfo.of_device_plugin(self.resource, DEVICE))
        self.containers: list[Container] = []
        self.log = Path(cluster.folder, "card.log")
        script = CARD.format(python=sys.executable, log=str(self.log))
        cluster.bin.file("card", script.encode())

    def describe(self) -> None:
        self.described.parent.mkdir(parents=True, exist_ok=True)
        self.described.write_text(json.dumps(INFO))

    def definition(self, **keys: Any) -> None:
        config = {"cniVersion": "1.0.0", "type": "card", **keys}
        self.cluster.nad("a", config, annotations={RESOURCE_NAME: self.resource})

    def add(self, container: Container, pods: Pods | None = None) -> Answer:
        pods = {"default/web": {self.resource: [DEVICE]}} if pods is None else pods
        self.containers.append(container)
        with Kubelet(f"{self.cluster.folder}/k", pods):
            return self.cluster.add(self.cluster.default(), container)

    @property
    def said(self) -> list[list[Any]]:
        """Verb, path and content of the file, of each call of the CNI plugin."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def files(self, container: Container) -> list[str]:
        """The files of a container."""
        folder = Path(deviceinfo.FOLDER, "cni")
        names = os.listdir(folder) if folder.is_dir() else []
        return sorted(name for name in names if container.id in name)

    def device_info(self) -> Any:
        return self.cluster.status()[1].get("device-info")


@pytest.fixture
def node(cluster: Cluster) -> Iterator[Node]:
    made = Node(cluster)
    yield made
    made.described.unlink(missing_ok=True)
    for each in made.containers:
        for name in made.files(each):
            Path(deviceinfo.FOLDER, "cni", name).unlink()


@pytest.fixture
def container(cluster: Cluster, cni_pod: Netns) -> Container:
    return cluster.pod(cni_pod, {NETWORKS: "a"})


def test_the_device_plugins_file_is_there_for_the_plugin_and_in_the_status(
    node: Node, container: Container
) -> None:
    node.describe()
    node.definition(**CAPABLE)
    node.add(container).require()
    ((verb, path, content),) = node.said
    assert (verb, content) == ("ADD", INFO)
    assert path == f"/var/run/k8s.cni.cncf.io/devinfo/cni/default-a-{container.id}_net1"
    assert node.device_info() == INFO


def test_what_the_plugin_writes_is_in_the_status(node: Node, container: Container) -> None:
    node.describe()
    node.definition(writes=VDPA, **CAPABLE)
    node.add(container).require()
    assert node.device_info() == VDPA


def test_a_plugin_writes_a_file_where_no_device_plugin_did(
    node: Node, container: Container
) -> None:
    node.definition(writes=VDPA, **CAPABLE)
    node.add(container).require()
    assert [content for _, _, content in node.said] == [None]
    assert node.device_info() == VDPA


def test_a_plugin_without_a_device_describes_its_interface_too(
    node: Node, container: Container, cluster: Cluster
) -> None:
    socket = {"type": "vhost-user", "vhost-user": {"mode": "client", "path": "/run/s"}}
    cluster.nad("a", {"cniVersion": "1.0.0", "type": "card", "writes": socket, **CAPABLE})
    node.add(container).require()
    assert node.device_info() == socket
    cluster.delete(cluster.default(), container).require()
    assert node.files(container) == []


def test_a_plugin_without_the_capability_has_its_device_in_the_status(
    node: Node, container: Container
) -> None:
    node.describe()
    node.definition()
    node.add(container).require()
    assert [path for _, path, _ in node.said] == [""]
    assert node.files(container) == [f"default-a-{container.id}_net1"]
    assert node.device_info() == INFO


def test_del_removes_the_file_without_an_api(
    node: Node, container: Container, cluster: Cluster
) -> None:
    node.describe()
    node.definition(**CAPABLE)
    node.add(container).require()
    assert len(node.files(container)) == 1
    without = {key: value for key, value in cluster.default().items() if key != "kubeconfig"}
    cluster.delete(without, container).require()
    assert node.files(container) == []
    assert [(verb, content) for verb, _, content in node.said] == [("ADD", INFO), ("DEL", INFO)]
    cluster.delete(without, container).require()


def test_gc_removes_the_file_of_a_dead_container(
    node: Node, container: Container, cluster: Cluster
) -> None:
    node.describe()
    node.definition(**CAPABLE)
    node.add(container).require()
    conf = {**cluster.default(), "cniVersion": "1.1.0"}
    cluster.runtime.gc(conf, []).require()
    assert node.files(container) == []


def test_an_add_that_fails_leaves_no_file(node: Node, cluster: Cluster, cni_pod: Netns) -> None:
    node.describe()
    node.definition(writes=VDPA, **CAPABLE)
    cluster.bin.stand_in("broken", ADD=Reply.error(7, "no"))
    cluster.nad("b", {"cniVersion": "1.0.0", "type": "broken"})
    container = cluster.pod(cni_pod, {NETWORKS: "a,b"})
    refused(node.add(container), 7, "default/b")
    assert [verb for verb, _, _ in node.said] == ["ADD", "DEL"]
    assert node.files(container) == []


def test_an_old_file_of_the_same_attachment_is_replaced(node: Node, container: Container) -> None:
    node.describe()
    node.definition(**CAPABLE)
    old = Path(deviceinfo.of_attachment("default/a", container.id, "net1"))
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_text(json.dumps(VDPA))
    node.add(container).require()
    assert node.device_info() == INFO


@pytest.mark.parametrize("key", ["runtimeConfig", "runtimeconfig"])
def test_a_tenant_does_not_choose_the_path(
    node: Node, container: Container, cluster: Cluster, tmp_path: Path, key: str
) -> None:
    theirs: dict[str, Any] = {key: {"CNIDeviceInfoFile": str(tmp_path / "theirs"), "other": 1}}
    node.definition(writes=VDPA, **CAPABLE, **theirs)
    node.add(container).require()
    assert not (tmp_path / "theirs").exists()
    cluster.bin.stand_in("plain", ADD=Reply.json({"cniVersion": "1.0.0"}))
    cluster.nad("b", {"cniVersion": "1.0.0", "type": "plain", **theirs})
    cluster.delete(cluster.default(), container).require()
    assert node.files(container) == []


def test_a_configuration_without_the_capability_passes_no_path_of_its_own(
    cluster: Cluster, cni_pod: Netns, tmp_path: Path
) -> None:
    cluster.bin.stand_in("plain")
    theirs: dict[str, Any] = {
        "runtimeConfig": {"CNIDeviceInfoFile": str(tmp_path / "theirs"), "other": 1}
    }
    cluster.nad("a", {"cniVersion": "1.0.0", "type": "plain", **theirs})
    cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: "a"})).require()
    assert [call.conf["runtimeConfig"] for call in cluster.bin.calls] == [{"other": 1}]


def test_the_name_of_a_device_leads_to_no_other_folder(
    node: Node, cluster: Cluster, cni_pod: Netns
) -> None:
    outside = Path(deviceinfo.FOLDER).parent / f"x{os.urandom(4).hex()}-device.json"
    node.definition(**CAPABLE)
    element = {"name": "a", "deviceID": f"/../../../{outside.name[: -len('-device.json')]}"}
    outside.parent.mkdir(parents=True, exist_ok=True)
    outside.write_text(json.dumps(VDPA))
    try:
        container = cluster.pod(cni_pod, {NETWORKS: [element]})
        node.add(container, {}).require()
        assert [content for _, _, content in node.said] == [None]
        assert node.device_info() is None
    finally:
        outside.unlink()


def test_the_file_of_a_container_that_the_go_multus_attached_is_removed(
    cluster: Cluster, cni_pod: Netns
) -> None:
    container = Container(cni_pod.path)
    networks = [
        Network(name, [{"type": "ptp", "ipam": cluster.ipam(subnet)}], ifname)
        for name, subnet, ifname in (("p0", "10.9.0", "eth0"), ("a", "10.8.0", "net1"))
    ]
    record = attach(cluster, container, *networks)
    first, second = json.loads(record.read_text())
    record.write_text(json.dumps([first, {**second, "Name": "default/a", "deviceID": DEVICE}]))
    file = Path(deviceinfo.FOLDER, "cni", f"default-a-{container.id}_net1")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(INFO))
    cluster.delete(cluster.default(), container).require()
    assert not file.exists()
    assert cni_pod.links() == {}
