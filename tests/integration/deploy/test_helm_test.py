"""What `helm test` creates, as a node carries it out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.deploy.conftest import Helm, helm

from integration.kube.cluster import NETWORKS, Cluster
from multus.testing.apiserver import ApiServer
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Runtime

__all__ = ["helm"]
NAME = "multus-python-test"


@pytest.fixture
def cluster(
    cni_node: Node, cni_bin: BinDir, cni_runtime: Runtime, tmp_path: Path
) -> Iterator[Cluster]:
    cni_bin.real("ptp", "host-local")
    with ApiServer(netns=cni_node.path) as api:
        kubeconfig = api.write_kubeconfig(tmp_path, "token-file")
        yield Cluster(api, cni_runtime, cni_bin, cni_node, str(tmp_path), kubeconfig)


def carried_out(netns: Netns, command: list[str]) -> subprocess.CompletedProcess[str]:
    """The pod's command, with the /sys of its network."""
    argv = ["ip", "netns", "exec", Path(netns.path).name, *command]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_the_test_passes_in_a_pod_that_got_its_network_and_fails_in_another(
    helm: Helm, cluster: Cluster, cni_pod: Netns
) -> None:
    made: dict[tuple[str, str], Any] = helm.hooks("test")
    definition, pod = made["NetworkAttachmentDefinition", NAME], made["Pod", NAME]
    config = json.loads(definition["spec"]["config"])
    config["ipam"]["dataDir"] = f"{cluster.folder}/ipam"
    cluster.nad(NAME, config, namespace=pod["metadata"]["namespace"])
    (container,) = pod["spec"]["containers"]
    before = carried_out(cni_pod, container["command"])
    assert (before.returncode, "no interface multus0" in before.stdout) == (1, True)

    wanted = {NETWORKS: pod["metadata"]["annotations"][NETWORKS]}
    started = cluster.pod(cni_pod, wanted, name=NAME, namespace="kube-system")
    conf = cluster.default()
    cluster.add(conf, started).require()
    assert carried_out(cni_pod, container["command"]).returncode == 0
    assert cni_pod.addresses("multus0")[0].startswith("192.0.2.")
    cluster.delete(conf, started).require()
    assert cni_pod.links() == {}
