"""Devices of device plugins: from the kubelet into the delegate's configuration and the status."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from integration.blackbox.program import refused
from integration.kube.cluster import NETWORKS, Cluster
from integration.kube.kubelet import Kubelet
from multus.testing.delegates import Reply, interface_result
from multus.testing.netns import Netns

RESOURCE = {"k8s.v1.cni.cncf.io/resourceName": "intel.com/vf"}
FIRST, SECOND = "0000:03:02.0", "0000:03:02.1"


def definition(cluster: Cluster, name: str, **keys: Any) -> None:
    cluster.bin.stand_in("card")
    config = {"cniVersion": "1.0.0", "type": "card", **keys}
    cluster.nad(name, config, annotations=RESOURCE)


def configs(cluster: Cluster) -> list[dict[str, Any]]:
    return [call.conf for call in cluster.bin.calls if call.command == "ADD"]


def test_each_network_of_a_resource_gets_a_device(cluster: Cluster, cni_pod: Netns) -> None:
    definition(cluster, "a")
    definition(cluster, "b", capabilities={"deviceID": True})
    pods = {"default/web": {"intel.com/vf": [FIRST, SECOND]}}
    with Kubelet(f"{cluster.folder}/k", pods) as kubelet:
        cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: "a,b"})).require()
    assert [(c["deviceID"], c["pciBusID"]) for c in configs(cluster)] == [
        (FIRST, FIRST),
        (SECOND, SECOND),
    ]
    assert [c.get("runtimeConfig") for c in configs(cluster)] == [None, {"deviceID": SECOND}]
    assert kubelet.calls == 1


def test_in_a_list_every_plugin_gets_it(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bin.stand_in("card").stand_in("meta")
    plugins = [{"type": "card"}, {"type": "meta"}]
    cluster.nad("a", {"cniVersion": "1.0.0", "plugins": plugins}, annotations=RESOURCE)
    pods = {"default/web": {"intel.com/vf": [FIRST]}}
    with Kubelet(f"{cluster.folder}/k", pods):
        cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: "a"})).require()
    assert [c.get("deviceID") for c in configs(cluster)] == [FIRST, FIRST]


def test_without_the_socket_the_checkpoint_is_read(cluster: Cluster, cni_pod: Netns) -> None:
    definition(cluster, "a")
    container = cluster.pod(cni_pod, {NETWORKS: "a"})
    uid = dict(part.split("=") for part in container.args.split(";"))["K8S_POD_UID"]
    entry = {"PodUID": uid, "ResourceName": "intel.com/vf", "DeviceIDs": {"0": [FIRST]}}
    folder = f"{cluster.folder}/k/device-plugins"
    os.makedirs(folder)
    with open(f"{folder}/kubelet_internal_checkpoint", "w") as file:
        json.dump({"Data": {"PodDeviceEntries": [entry]}, "Checksum": 1}, file)
    cluster.add(cluster.default(), container).require()
    assert configs(cluster)[0]["deviceID"] == FIRST


def test_more_networks_than_devices_are_refused(cluster: Cluster, cni_pod: Netns) -> None:
    definition(cluster, "a")
    pods = {"default/web": {"intel.com/vf": [FIRST]}}
    with Kubelet(f"{cluster.folder}/k", pods):
        answer = cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: "a,a"}))
    refused(answer, 7, "default/a", "intel.com/vf", "has no free one", "pod's resources")
    assert cni_pod.links() == {}


@pytest.mark.parametrize("fault", ["status", "cut", "garbage"])
def test_a_kubelet_that_fails_fails_the_pod(cluster: Cluster, cni_pod: Netns, fault: str) -> None:
    definition(cluster, "a")
    with Kubelet(f"{cluster.folder}/k", {}, fault):
        answer = cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: "a"}))
    refused(answer, 11, "kubelet", "default/web")


def test_the_status_has_the_devices_address(cluster: Cluster, cni_pod: Netns) -> None:
    definition(cluster, "a")
    result = interface_result(version="1.1.0")
    result["interfaces"][0]["pciID"] = FIRST
    cluster.bin.stand_in("card", ADD=Reply.json(result))
    pods = {"default/web": {"intel.com/vf": [FIRST]}}
    with Kubelet(f"{cluster.folder}/k", pods):
        cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: "a"})).require()
    assert cluster.status()[1]["device-info"] == {
        "type": "pci",
        "version": "1.1.0",
        "pci": {"pci-address": FIRST},
    }
