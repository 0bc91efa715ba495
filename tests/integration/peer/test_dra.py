"""Devices of ResourceClaims (DRA), with the installed program and with the daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from integration.blackbox.program import refused
from integration.kube.claims import claim, device, reserve, result, slice_of, vf
from integration.kube.cluster import NETWORKS, Cluster
from integration.kube.kubelet import Kubelet, Pods
from multus.testing.netns import Netns
from multus.testing.runtime import Answer, Container

RESOURCE_NAME = "k8s.v1.cni.cncf.io/resourceName"
VF = "example.org/vf"
IDS = [f"0000:03:02.{number}" for number in range(6)]


def definition(cluster: Cluster, name: str, resource: str = VF) -> None:
    cluster.bin.stand_in("card")
    config = {"cniVersion": "1.0.0", "type": "card"}
    cluster.nad(name, config, annotations={RESOURCE_NAME: resource})


def add(cluster: Cluster, container: Container, pods: Pods | None = None) -> Answer:
    with Kubelet(f"{cluster.folder}/k", pods or {}):
        return cluster.add(cluster.default(), container)


def given(cluster: Cluster) -> list[Any]:
    return [call.conf.get("deviceID") for call in cluster.bin.calls if call.command == "ADD"]


def test_networks_take_the_devices_of_the_pods_claims(cluster: Cluster, cni_pod: Netns) -> None:
    definition(cluster, "a")
    definition(cluster, "b", "example.org/other")
    slice_of(cluster.api, vf(0), vf(1), vf(2, "example.org/other"), device("gpu-0"))
    container = cluster.pod(cni_pod, {NETWORKS: "a,b,a"})
    claim(cluster.api, "one", result("r", "vf-1"), result("r", "vf-0"), result("g", "gpu-0"))
    claim(cluster.api, "two", result("r", "vf-2"))
    reserve(cluster.api, "one", "two")
    add(cluster, container).require()
    assert given(cluster) == [IDS[0], IDS[2], IDS[1]]


def test_the_kubelets_devices_come_before_those_of_claims(cluster: Cluster, cni_pod: Netns) -> None:
    definition(cluster, "a")
    slice_of(cluster.api, vf(0))
    container = cluster.pod(cni_pod, {NETWORKS: "a,a"})
    claim(cluster.api, "one", result("r", "vf-0"))
    reserve(cluster.api, "one")
    add(cluster, container, {"default/web": {VF: [IDS[5]]}}).require()
    assert given(cluster) == [IDS[5], IDS[0]]


def test_an_extended_resource_must_match(cluster: Cluster, cni_pod: Netns) -> None:
    definition(cluster, "a")
    slice_of(cluster.api, vf(0, "example.org/other"))
    container = cluster.pod(cni_pod, {NETWORKS: "a"})
    claim(cluster.api, "own", result("r0", "vf-0"))
    mapping = {"containerName": "web", "requestName": "r0", "resourceName": VF}
    reserve(cluster.api, extended={"resourceClaimName": "own", "requestMappings": [mapping]})
    refused(add(cluster, container), 11, "default/own", "published as example.org/other", VF)
    assert cni_pod.links() == {}


def test_a_pod_whose_networks_take_no_device_is_not_looked_up(
    cluster: Cluster, cni_pod: Netns
) -> None:
    cluster.bridge("plain", "10.1.0")
    container = cluster.pod(cni_pod, {NETWORKS: "plain"})
    claim(cluster.api, "one", result("r", "vf-0"))
    reserve(cluster.api, "one")
    add(cluster, container).require()
    assert cluster.gets("/pods/web") == 1
    assert cluster.gets("resource.k8s.io") == 0


def test_del_asks_for_no_claim(cluster: Cluster, cni_pod: Netns) -> None:
    definition(cluster, "a")
    slice_of(cluster.api, vf(0))
    container = cluster.pod(cni_pod, {NETWORKS: "a"})
    claim(cluster.api, "one", result("r", "vf-0"))
    reserve(cluster.api, "one")
    add(cluster, container).require()
    before = dict(cluster.api.requests)
    cluster.delete(cluster.default(), container).require()
    assert dict(cluster.api.requests) == before


def test_explain_says_where_each_device_comes_from(cluster: Cluster, tmp_path: Path) -> None:
    cluster.bin.stand_in("card")
    conf = tmp_path / "multus.conf"
    conf.write_text(json.dumps({**cluster.default(), "kubeletDir": str(tmp_path / "k")}))
    objects = tmp_path / "objects.yaml"
    nads = [
        {
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "annotations": {RESOURCE_NAME: resource}},
            "spec": {"config": json.dumps({"cniVersion": "1.0.0", "type": "card"})},
        }
        for name, resource in (("a", VF), ("b", "example.org/mark"))
    ]
    slice_of(cluster.api, vf(0))
    claim(cluster.api, "one", result("r", "vf-0"))
    cluster.api.create_pod("web", {NETWORKS: "a,b"})
    reserve(cluster.api, "one")
    for kind in [each for each in cluster.api.store.kinds() if each.version == "v1"]:
        for each in cluster.api.store.objects(kind, "", ()):
            nads.append({"apiVersion": kind.api_version, "kind": kind.kind, **each})
    objects.write_text(yaml.safe_dump_all(nads))
    argv = [sys.executable, "-m", "multus", "explain", "--conf", str(conf), "-f", str(objects)]
    argv += ["--cni-path", cluster.bin.path]  # this machine is the node
    with Kubelet(f"{tmp_path}/k", {}):
        told = subprocess.run([*argv, "--json"], capture_output=True, text=True, check=True)
        shown = subprocess.run(argv, capture_output=True, text=True, check=True)
    found = [
        {key: each.get(key) for key in ("resource", "device", "deviceBy")}
        for each in json.loads(told.stdout)["networks"][1:]
    ]
    assert found == [
        {"resource": VF, "device": IDS[0], "deviceBy": "devices-dra"},
        {"resource": "example.org/mark", "device": None, "deviceBy": None},
    ]
    assert f"{IDS[0]} of {VF}, named by devices-dra" in shown.stdout
    assert "none: no plugin names a device of example.org/mark" in shown.stdout
