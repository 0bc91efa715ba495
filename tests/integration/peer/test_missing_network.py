"""The event ``NoNetworkFound``, when a network that a pod is to have does not exist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from integration.kube.cluster import DEFAULT_NETWORK, NETWORKS, Cluster
from multus.testing.apiserver import Fault
from multus.testing.netns import Netns


def missing(cluster: Cluster) -> list[str]:
    return [text for kind, why, text in cluster.events() if (kind, why) == WARNING]


WARNING = ("Warning", "NoNetworkFound")


@pytest.mark.parametrize("annotation", [NETWORKS, DEFAULT_NETWORK])
def test_an_annotation_names_a_definition_that_does_not_exist(
    cluster: Cluster, cni_pod: Netns, annotation: str
) -> None:
    conf = cluster.default()
    cluster.add(conf, cluster.pod(cni_pod, {annotation: "nowhere"}))
    (said,) = missing(cluster)
    assert "nowhere" in said
    assert cni_pod.links() == {}


@pytest.mark.parametrize("key", ["clusterNetwork", "defaultNetworks"])
def test_the_configuration_names_a_network_that_does_not_exist(
    cluster: Cluster, cni_pod: Netns, key: str
) -> None:
    given: dict[str, Any] = {"clusterNetwork": "nowhere"}
    if key == "defaultNetworks":
        cluster.bridge("lan", "10.1.0", namespace="kube-system")
        given = {"clusterNetwork": "lan", "defaultNetworks": ["nowhere"]}
    cluster.add(cluster.conf(**given), cluster.pod(cni_pod))
    (said,) = missing(cluster)
    assert "'nowhere'" in said


def test_a_definition_that_may_not_be_read_is_not_called_missing(
    cluster: Cluster, cni_pod: Netns
) -> None:
    cluster.bridge("net-a", "10.1.0")
    cluster.api.faults.add(Fault("status", path="*/net-a", code=403, reason="Forbidden", times=0))
    answer = cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: "net-a"}))
    assert answer.error["code"] == 11
    assert missing(cluster) == []
    assert [why for _, why, _ in cluster.events()] == ["NetworkAttachmentFailed"]


def test_a_network_that_a_file_has_is_not_missing(cluster: Cluster, cni_pod: Netns) -> None:
    folder = Path(cluster.folder, "net.d")
    folder.mkdir()
    ptp = {"cniVersion": "1.0.0", "name": "lan", "type": "ptp", "ipam": cluster.ipam("10.1.0")}
    Path(folder, "10-lan.conf").write_text(json.dumps(ptp))
    cluster.add(cluster.conf(clusterNetwork="lan"), cluster.pod(cni_pod)).require()
    assert missing(cluster) == []
