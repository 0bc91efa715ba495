"""The networks of a running pod become what its annotation asks for, by hand."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest

from integration.kube.cluster import Cluster
from integration.kube.kubelet import Kubelet
from multus.cli import main
from multus.testing.delegates import Reply
from multus.testing.netns import Netns, inside
from multus.testing.runtime import Container


def apply(cluster: Cluster, *options: str, pod: str = "web", status: int = 0) -> dict[str, Any]:
    """What ``multus apply`` says, as JSON; it runs on the node, in this process."""
    words = ("apply", pod, "--cni-dir", f"{cluster.folder}/multus", "--json", *options)
    with inside(cluster.node), redirect_stdout(StringIO()) as said:
        found = main(words)
    assert found == status, said.getvalue()
    return dict(json.loads(said.getvalue()))


def named(entries: list[dict[str, Any]]) -> dict[str, str]:
    return {each["interface"]: each["network"] for each in entries}


def statuses(cluster: Cluster) -> dict[str, list[str]]:
    return {each["interface"]: each["ips"] for each in cluster.status()}


def addresses(netns: Netns) -> dict[str, list[str]]:
    return {name: netns.addresses(name) for name in netns.links()}


@pytest.fixture
def web(cluster: Cluster, cni_pod: Netns) -> Container:
    """A running pod with the default network alone; there are definitions a, b and c."""
    for number, name in enumerate("abc", start=1):
        cluster.bridge(name, f"10.{number}.0")
    container = cluster.pod(cni_pod)
    cluster.add(cluster.default(), container).require()
    return container


def test_none_to_two_to_one_other_to_none(cluster: Cluster, cni_pod: Netns, web: Container) -> None:
    eth0 = cni_pod.links()["eth0"]
    cluster.annotate("a,b@data")
    foreseen = apply(cluster, "--dry-run")
    assert sorted(cni_pod.links()) == ["eth0"]
    assert named(foreseen["added"]) == {"net1": "default/a", "data": "default/b"}
    found = apply(cluster)
    assert named(found["added"]) == named(foreseen["added"])
    assert addresses(cni_pod)["net1"] == found["added"][0]["ips"] == ["10.1.0.2/24"]
    assert statuses(cluster) == {"eth0": ["10.10.0.2"], "net1": ["10.1.0.2"], "data": ["10.2.0.2"]}
    cluster.runtime.check(cluster.default(), web, None).require()

    cluster.annotate("c")
    assert named(apply(cluster)["removed"]) == {"net1": "default/a", "data": "default/b"}
    assert statuses(cluster) == {"eth0": ["10.10.0.2"], "net1": ["10.3.0.2"]}
    assert sorted(cni_pod.links()) == ["eth0", "net1"]

    cluster.annotate(None)
    apply(cluster)
    assert cni_pod.links() == {"eth0": eth0}
    assert statuses(cluster) == {"eth0": ["10.10.0.2"]}
    nothing = apply(cluster)
    assert named(nothing["kept"]) == {"eth0": "p0"}
    assert not nothing["removed"] + nothing["added"] + nothing["refused"]

    said = [(reason, message) for _, reason, message in cluster.events()]
    assert said == [
        ("AddedInterface", "Add data [10.2.0.2/24] from default/b"),
        ("AddedInterface", "Add eth0 [10.10.0.2/24] from p0"),
        ("AddedInterface", "Add net1 [10.1.0.2/24] from default/a"),
        ("AddedInterface", "Add net1 [10.3.0.2/24] from default/c"),
        ("RemovedInterface", "Remove data of default/b"),
        ("RemovedInterface", "Remove net1 of default/a"),
        ("RemovedInterface", "Remove net1 of default/c"),
    ]
    cluster.delete(cluster.default(), web).require()
    assert cni_pod.links() == {}


def test_a_change_of_what_is_requested_replaces_that_network_alone(
    cluster: Cluster, cni_pod: Netns, web: Container
) -> None:
    static = {"cniVersion": "1.0.0", "type": "macvlan", "master": "uplink", "mode": "bridge"}
    capable = {**static, "capabilities": {"ips": True}, "ipam": {"type": "static"}}
    cluster.nad("fixed", capable)
    cluster.annotate([{"name": "fixed", "ips": ["10.1.0.77/24"]}, {"name": "b"}])
    apply(cluster)
    before = cni_pod.links()
    assert cni_pod.addresses("net1") == ["10.1.0.77/24"]
    cluster.annotate([{"name": "fixed", "ips": ["10.1.0.78/24"]}, {"name": "b"}])
    found = apply(cluster)
    assert named(found["removed"]) == named(found["added"]) == {"net1": "default/fixed"}
    after = cni_pod.links()
    assert cni_pod.addresses("net1") == ["10.1.0.78/24"]
    assert (after["eth0"], after["net2"]) == (before["eth0"], before["net2"])
    cluster.annotate([{"namespace": "default", "name": "fixed", "ips": ["10.1.0.78/24"]}])
    assert named(apply(cluster)["removed"]) == {"net2": "default/b"}


def test_what_cannot_be_attached_is_said_and_leaves_the_others(
    cluster: Cluster, cni_pod: Netns, web: Container
) -> None:
    cluster.bin.stand_in("broken", ADD=Reply.error(7, "no such VLAN"))
    cluster.nad("broken", {"cniVersion": "1.0.0", "type": "broken"})
    card = {"k8s.v1.cni.cncf.io/resourceName": "example.com/card"}
    cluster.nad("card", {"cniVersion": "1.0.0", "type": "host-device"}, annotations=card)
    cluster.annotate("nowhere,a,broken,card,b@eth0")
    with Kubelet(f"{cluster.folder}/k", {"default/web": {}}):
        found = apply(cluster, status=1)
    assert named(found["added"]) == {"net2": "default/a"}
    refused = {each["network"]: each["msg"] for each in found["refused"]}
    assert set(refused) == {"default/nowhere", "default/broken", "default/card", "default/b"}
    assert "no such VLAN" in refused["default/broken"]
    assert "example.com/card, and pod default/web has no free one" in refused["default/card"]
    assert "create the pod anew" in refused["default/card"]
    assert "another network of the pod has interface 'eth0'" in refused["default/b"]
    assert sorted(cni_pod.links()) == ["eth0", "net2"]
    warnings = [(reason, text) for kind, reason, text in cluster.events() if kind == "Warning"]
    assert [reason for reason, _ in warnings] == ["NetworkAttachmentFailed"] * 3 + [
        "NoNetworkFound"
    ]
    assert "default/nowhere, interface net1, is not changed: " in warnings[-1][1]
    assert statuses(cluster) == {"eth0": ["10.10.0.2"], "net2": ["10.1.0.2"]}


def test_a_pod_of_the_seeds_dialect_changes_its_secondaries(
    cluster: Cluster, cni_pod: Netns
) -> None:
    for number, name in enumerate(("front", "back", "side"), start=1):
        args = [{"bridge": f"br-{name}", "ipam": cluster.ipam(f"10.{number}.0")}]
        cluster.network(name, "bridge", args, group="kubernetes.cni.cncf.io")
    key = "kubernetes.v1.cni.cncf.io/networks"
    container = cluster.pod(cni_pod, {key: [{"name": "front"}, {"name": "back"}]})
    cluster.add(cluster.conf(), container).require()
    assert sorted(cni_pod.links()) == ["eth0", "net0"]
    cluster.api.annotate("web", {key: '[{"name": "front"}, {"name": "side"}]'})
    assert named(apply(cluster)["added"]) == {"net0": "default/side"}
    cluster.api.annotate("web", {key: '[{"name": "back"}, {"name": "side"}]'})
    found = apply(cluster, status=1)
    assert named(found["kept"]) == {"eth0": "default/front", "net0": "default/side"}
    (refused,) = found["refused"]
    assert "'eth0' of a running pod is not changed" in refused["msg"]
    cluster.delete(cluster.conf(), container).require()
    assert cni_pod.links() == {}


def test_a_container_that_has_ended_is_left_to_its_del(
    cluster: Cluster, cni_pod: Netns, web: Container
) -> None:
    cluster.annotate("a")
    cni_pod.remove()
    folder = ("--cni-dir", f"{cluster.folder}/multus")
    answer = cluster.command("apply", web.id[:6], *folder)
    assert answer.status == 1
    assert b"is gone: leave its networks to its DEL" in answer.stderr
    cluster.delete(cluster.default(), web).require()
    assert cluster.command("apply", "web", *folder).status == 1


def test_a_pod_whose_definition_is_gone_keeps_its_network(
    cluster: Cluster, cni_pod: Netns, web: Container
) -> None:
    cluster.annotate("a")
    apply(cluster)
    gone = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition"}
    cluster.api.delete({**gone, "metadata": {"name": "a", "namespace": "default"}})
    assert named(apply(cluster)["kept"]) == {"eth0": "p0", "net1": "default/a"}
    shown = cluster.command("apply", "web", "--cni-dir", f"{cluster.folder}/multus", "--dry-run")
    lines = shown.stdout.decode().splitlines()
    assert [line.split() for line in lines] == [
        ["INTERFACE", "NETWORK", "ADDRESSES"],
        ["keep", "eth0", "p0", "-"],
        ["keep", "net1", "default/a", "-"],
        ["nothing", "to", "change:", "the", "pod", "has", "what", "it", "asks", "for"],
    ]


def test_the_default_route_of_eth0_stays_and_that_of_another_network_moves(
    cluster: Cluster, cni_pod: Netns, web: Container
) -> None:
    cluster.annotate([{"name": "a", "default-route": ["10.1.0.1"]}, {"name": "b"}])
    found = apply(cluster, status=1)
    assert named(found["added"]) == {"net2": "default/b"}
    (refused,) = found["refused"]
    assert "another interface of the pod has it, via 10.10.0.1: create" in refused["msg"]
    cluster.delete(cluster.default(), web).require()

    cluster.annotate([{"name": "a", "default-route": ["10.1.0.1"]}, {"name": "b"}])
    cluster.add(cluster.default(), web).require()
    cluster.annotate([{"name": "a", "default-route": ["10.1.0.7"]}, {"name": "c"}, {"name": "b"}])
    assert named(apply(cluster)["removed"]) == {"net1": "default/a"}
    routes = [each for each in cni_pod.ip("route") if each["dst"] == "default"]
    assert [(each["dev"], each["gateway"]) for each in routes] == [("net1", "10.1.0.7")]
    cluster.runtime.check(cluster.default(), web, None).require()


def test_a_network_more_gets_a_device_that_is_free(
    cluster: Cluster, cni_pod: Netns, web: Container
) -> None:
    cluster.bin.stand_in("card")
    resource = {"k8s.v1.cni.cncf.io/resourceName": "intel.com/vf"}
    for name in ("one", "two", "three"):
        cluster.nad(name, {"cniVersion": "1.0.0", "type": "card"}, annotations=resource)
    devices = {"default/web": {"intel.com/vf": ["0000:03:02.0", "0000:03:02.1"]}}
    with Kubelet(f"{cluster.folder}/k", devices):
        cluster.annotate("one")
        apply(cluster)
        cluster.annotate("two,one,three")
        found = apply(cluster, status=1)
    assert [each["network"] for each in found["refused"]] == ["default/three"]
    configs = [call.conf for call in cluster.bin.calls if call.command == "ADD"]
    assert [each["deviceID"] for each in configs] == ["0000:03:02.0", "0000:03:02.1"]
