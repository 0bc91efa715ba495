"""`multus graph` on a node with real pods: the kernel says what hangs on what."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest
from attrs import frozen

from integration.cli.conftest import MadeUpNode, Pods


@frozen
class Drawn:
    """A node with two pods: one on a bridge and a master, one on the node's routes."""

    node: MadeUpNode
    conf: dict[str, Any]
    pods: tuple[str, ...]

    def graph(self, *words: str) -> tuple[int, str]:
        done = self.node.run("graph", "--cni-dir", self.conf["cniDir"], *words)
        assert done.stderr == ""
        return done.returncode, done.stdout

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.graph("--json")[1])
        return found

    def interface(self, pod: int, name: str) -> dict[str, Any]:
        found = self.json()["pods"][pod]["interfaces"]
        return next(each for each in found if each["name"] == name)


@pytest.fixture
def drawn(made_up: MadeUpNode, cni_pods: Pods) -> Drawn:
    made_up.bin.real("macvlan", "static")
    made_up.host.bridge("br0", "10.88.0.1/24")
    made_up.host.ip("link", "add", "up1", "type", "veth", "peer", "name", "up2")
    made_up.host.ip("link", "set", "up1", "master", "br0")

    def local(subnet: str) -> dict[str, Any]:
        return {"type": "host-local", "subnet": subnet, "dataDir": f"{made_up.folder}/networks"}

    bridge = {"name": "lan", "type": "bridge", "bridge": "br0", "ipam": local("10.88.0.0/24")}
    static = {"type": "static", "addresses": [{"address": "192.0.2.10/24"}]}
    macvlan = {"name": "storage", "type": "macvlan", "master": "uplink", "ipam": static}
    ptp = {"name": "control", "type": "ptp", "ipam": local("10.89.0.0/29")}
    pods = cni_pods(), cni_pods()
    conf = made_up.healthy(delegates=[{**bridge, "isGateway": True}, macvlan])
    made_up.attach(conf, pods[0], args="K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0")
    made_up.attach(made_up.conf(delegates=[ptp]), pods[1], args="K8S_POD_NAME=alone")
    return Drawn(made_up, conf, tuple(each.name for each in pods))


def test_each_interface_says_what_it_is_attached_to(drawn: Drawn) -> None:
    ends = drawn.node.host.links()
    found = drawn.json()
    assert [(each["namespace"], each["name"]) for each in found["pods"]] == [
        ("", "alone"),
        ("shop", "web-0"),
    ]
    lan = drawn.interface(1, "eth0")
    assert (lan["parent"], lan["network"], lan["kind"]) == ("link br0", "lan", "veth")
    assert lan["addresses"] == ["10.88.0.2/24"]
    assert ends[lan["end"]].master == ends["br0"].index
    storage = drawn.interface(1, "net0")
    assert (storage["parent"], storage["kind"]) == ("link uplink", "macvlan")
    control = drawn.interface(0, "eth0")
    assert (control["parent"], control["gateways"]) == ("routes of the node", ["10.89.0.1"])
    parents = {each["key"]: each for each in found["parents"]}
    assert parents["link br0"]["uplinks"] == ["up1"]
    assert parents["link br0"]["addresses"] == ["10.88.0.1/24"]
    (network,) = parents["routes of the node"]["networks"]
    assert network["ranges"] == [{"spans": "10.89.0.1-10.89.0.6", "used": 1, "size": 5}]


def test_the_tree_has_it_all_on_a_screen(drawn: Drawn) -> None:
    status, text = drawn.graph()
    assert status == 0
    assert " 2 pods, 3 interfaces" in text
    end = drawn.interface(1, "eth0")["end"]
    assert f"{end} ── br0" in text
    assert "macvlan ── uplink" in text


def test_the_drawing_is_a_file_of_its_own(drawn: Drawn) -> None:
    file = drawn.node.folder / "node.svg"
    assert drawn.graph("--svg", str(file)) == (0, "")
    text = file.read_text()
    ElementTree.fromstring(text)
    for words in ("shop/web-0", "10.88.0.2/24", "br0", drawn.interface(1, "eth0")["end"], "1/5"):
        assert f">{words}<" in text
    assert drawn.graph("--svg", "-") == (0, text)


def test_an_interface_that_somebody_removed_is_told(drawn: Drawn) -> None:
    drawn.node.host.ip("link", "delete", drawn.interface(1, "eth0")["end"])
    lan = drawn.interface(1, "eth0")
    assert lan["problem"] == "there is no interface 'eth0' in the pod"
    # What the record says is still shown.
    assert lan["addresses"] == ["10.88.0.2/24"]


def test_a_pod_whose_namespace_is_gone_is_told(made_up: MadeUpNode, cni_pods: Pods) -> None:
    pod = cni_pods()
    conf = made_up.healthy()
    made_up.attach(conf, pod)
    pod.remove()
    done = made_up.run("graph", "--json", "--cni-dir", conf["cniDir"])
    (found,) = json.loads(done.stdout)["pods"]
    assert (found["alive"], found["problem"]) == (False, "its network namespace is gone")
    assert done.returncode == 0


def test_a_record_that_cannot_be_read_is_a_note_and_the_rest_is_drawn(drawn: Drawn) -> None:
    (drawn.node.folder / "state" / "c1:eth0").mkdir()
    status, text = drawn.graph()
    assert status == 1
    assert "not read: a record cannot be read" in text
    assert "macvlan ── uplink" in text


def test_what_may_not_be_looked_into_is_told(drawn: Drawn) -> None:
    options = ["graph", "--cni-dir", str(drawn.conf["cniDir"])]
    done = drawn.node.run(*options, rights="-sys_admin")
    assert done.returncode == 1
    assert "not read: 2 pods: each says why" in done.stdout
    assert done.stdout.count("cannot enter the network namespace") == 2
    # What is recorded is still shown.
    assert "10.88.0.2/24" in done.stdout


def test_without_records_nothing_is_attached(made_up: MadeUpNode) -> None:
    (made_up.folder / "none").mkdir()
    done = made_up.run("graph", "--cni-dir", str(made_up.folder / "none"))
    assert (done.returncode, done.stdout.endswith(": nothing is attached\n")) == (0, True)
