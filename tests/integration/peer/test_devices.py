"""Devices: ``resourceName`` of a definition, and ``deviceID`` of an element."""

from __future__ import annotations

from typing import Any

from integration.blackbox.program import refused
from integration.kube.cluster import NETWORKS, Cluster
from integration.kube.kubelet import Kubelet, Pods
from multus.testing.netns import Netns
from multus.testing.runtime import Answer, Container

RESOURCE_NAME = "k8s.v1.cni.cncf.io/resourceName"
VF = "intel.com/vf"
MARK = "bridge.network.kubevirt.io/br-a"
DEVICES = [f"0000:03:02.{number}" for number in range(6)]


def definition(cluster: Cluster, name: str, *types: str, resource: str = VF, **keys: Any) -> None:
    """A definition that needs a device of *resource*, of a chain of these types (``card``)."""
    types = types or ("card",)
    for each in types:
        cluster.bin.stand_in(each)
    plugins = [{"type": each, **keys} for each in types]
    config: dict[str, Any] = {"cniVersion": "1.0.0"}
    config |= plugins[0] if len(plugins) == 1 else {"plugins": plugins}
    cluster.nad(name, config, annotations={RESOURCE_NAME: resource})


def add(cluster: Cluster, container: Container, pods: Pods) -> Answer:
    with Kubelet(f"{cluster.folder}/k", pods):
        return cluster.add(cluster.default(), container)


def configs(cluster: Cluster) -> list[dict[str, Any]]:
    return [call.conf for call in cluster.bin.calls if call.command == "ADD"]


def given(cluster: Cluster) -> list[tuple[str, Any, Any]]:
    """Type, ``deviceID`` and ``pciBusID`` of each plugin that was started, in order."""
    return [(each["type"], each.get("deviceID"), each.get("pciBusID")) for each in configs(cluster)]


def test_a_resource_that_serves_for_scheduling_alone_gives_no_device(
    cluster: Cluster, cni_pod: Netns
) -> None:
    bridge = {"cniVersion": "1.0.0", "type": "bridge", "bridge": "br-a"}
    cluster.nad("a", {**bridge, "ipam": cluster.ipam("10.1.0")}, annotations={RESOURCE_NAME: MARK})
    container = cluster.pod(cni_pod, {NETWORKS: "a"})
    add(cluster, container, {"default/other": {MARK: ["x"]}}).require()
    assert cni_pod.addresses("net1") == ["10.1.0.2/24"]


def test_two_networks_of_a_resource_without_devices_start_too(
    cluster: Cluster, cni_pod: Netns
) -> None:
    definition(cluster, "a", resource=MARK)
    add(cluster, cluster.pod(cni_pod, {NETWORKS: "a,a"}), {}).require()
    assert given(cluster) == [("card", None, None)] * 2


def test_more_networks_than_devices_of_a_resource_are_refused(
    cluster: Cluster, cni_pod: Netns
) -> None:
    definition(cluster, "a")
    answer = add(cluster, cluster.pod(cni_pod, {NETWORKS: "a,a"}), {"default/web": {VF: ["x"]}})
    refused(answer, 7, "entry 2", "default/a", VF, "pod default/web has no free one")
    assert cni_pod.links() == {}


def test_every_plugin_of_a_chain_gets_the_device(cluster: Cluster, cni_pod: Netns) -> None:
    definition(cluster, "a", "card", "rdma", "tune")
    container = cluster.pod(cni_pod, {NETWORKS: "a"})
    add(cluster, container, {"default/web": {VF: [DEVICES[0]]}}).require()
    assert given(cluster) == [(each, DEVICES[0], DEVICES[0]) for each in ("card", "rdma", "tune")]


def test_devices_are_taken_sorted_in_each_container_and_in_the_containers_order(
    cluster: Cluster, cni_pod: Netns
) -> None:
    definition(cluster, "a")
    containers = [{VF: [DEVICES[5], DEVICES[4]]}, {VF: [DEVICES[1], DEVICES[0]]}]
    container = cluster.pod(cni_pod, {NETWORKS: "a,a,a,a"})
    add(cluster, container, {"default/web": containers}).require()
    wanted = [DEVICES[number] for number in (4, 5, 0, 1)]
    assert [each["deviceID"] for each in configs(cluster)] == wanted


def test_a_device_of_two_numa_nodes_is_one_device(cluster: Cluster, cni_pod: Netns) -> None:
    definition(cluster, "a")
    listed = {"default/web": {VF: [DEVICES[0], DEVICES[1], DEVICES[0], DEVICES[1]]}}
    add(cluster, cluster.pod(cni_pod, {NETWORKS: "a,a"}), listed).require()
    assert [each["deviceID"] for each in configs(cluster)] == DEVICES[:2]


def test_an_elements_device_is_passed_where_the_kubelet_gave_none(
    cluster: Cluster, cni_pod: Netns
) -> None:
    cluster.bin.stand_in("card")
    capable = {"capabilities": {"deviceID": True}}
    cluster.nad("a", {"cniVersion": "1.0.0", "type": "card", **capable})
    cluster.nad("b", {"cniVersion": "1.0.0", "type": "card"})
    networks = [{"name": name, "deviceID": DEVICES[3]} for name in "ab"]
    add(cluster, cluster.pod(cni_pod, {NETWORKS: networks}), {}).require()
    assert [each.get("runtimeConfig") for each in configs(cluster)] == [
        {"deviceID": DEVICES[3]},
        None,
    ]
    assert given(cluster) == [("card", None, None)] * 2
    ((_, _, message),) = [each for each in cluster.events() if each[0] == "Warning"]
    assert "default/b" in message and "deviceID" in message


def test_the_kubelets_device_goes_before_an_elements(cluster: Cluster, cni_pod: Netns) -> None:
    definition(cluster, "a", capabilities={"deviceID": True})
    container = cluster.pod(cni_pod, {NETWORKS: [{"name": "a", "deviceID": DEVICES[3]}]})
    add(cluster, container, {"default/web": {VF: [DEVICES[0]]}}).require()
    (config,) = configs(cluster)
    assert config["runtimeConfig"] == {"deviceID": DEVICES[0]}
    assert config["deviceID"] == DEVICES[0]


def test_del_needs_no_kubelet_and_gives_the_same_device(cluster: Cluster, cni_pod: Netns) -> None:
    definition(cluster, "a", "card", "rdma")
    container = cluster.pod(cni_pod, {NETWORKS: "a"})
    add(cluster, container, {"default/web": {VF: [DEVICES[0]]}}).require()
    cluster.delete(cluster.default(), container).require()
    deleted = [call.conf["deviceID"] for call in cluster.bin.calls if call.command == "DEL"]
    assert deleted == [DEVICES[0]] * 2
