"""A network that is Multus itself is refused at once; on the Go Multus the call hangs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from integration.blackbox.program import refused
from integration.kube.cluster import NETWORKS, Cluster
from multus.testing.netns import Netns
from multus.testing.runtime import Container


def own_file(cluster: Cluster, conf: dict[str, Any], name: str = "00-multus.conf") -> str:
    path = Path(cluster.folder) / "net.d" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(conf))
    return str(path)


def refused_and_removed(cluster: Cluster, conf: dict[str, Any], netns: Netns, *words: str) -> None:
    """ADD is refused with these words; DEL succeeds, and nothing is left."""
    container = Container(netns.path)
    refused(cluster.add(conf, container), 7, "Multus would call itself", *words)
    cluster.delete(conf, container).require()
    assert netns.links() == {}


@pytest.mark.parametrize("kind", ["multus", "multus-shim"])
def test_the_cluster_network_by_path_or_name(cluster: Cluster, cni_pod: Netns, kind: str) -> None:
    folder = f"{cluster.folder}/net.d"
    path = f"{folder}/00-multus.conf"
    for named in (path, "node-cni-network"):
        conf = cluster.conf(clusterNetwork=named)
        own_file(cluster, {**conf, "type": kind})
        refused_and_removed(cluster, conf, cni_pod, path, f"'type' is '{kind}'")


def test_a_default_network_and_a_plugin_of_a_chain(cluster: Cluster, cni_pod: Netns) -> None:
    chain: dict[str, Any] = {"name": "chain", "cniVersion": "1.0.0"}
    chain["plugins"] = [{"type": "ptp", "ipam": cluster.ipam("10.1.0")}, {"Type": "multus"}]
    path = own_file(cluster, chain, "20-chain.conflist")
    own_file(cluster, {"name": "p", "type": "ptp", "ipam": cluster.ipam("10.2.0")}, "10-p.conf")
    conf = cluster.conf(clusterNetwork="p", defaultNetworks=["chain"])
    refused_and_removed(cluster, conf, cni_pod, path, "'plugins[1].type' is 'multus'")


def test_a_delegate_that_runs_multus_for_its_addresses(cluster: Cluster, cni_pod: Netns) -> None:
    bridge = {"type": "bridge", "bridge": "br-x", "ipam": {"type": "multus"}}
    conf = cluster.conf(delegates=[bridge])
    refused_and_removed(cluster, conf, cni_pod, "'ipam.type' is 'multus'")


def test_a_definition_in_the_cluster(cluster: Cluster, cni_pod: Netns) -> None:
    for namespace in ("default", "kube-system"):
        cluster.nad("m", {"type": "multus", "cniVersion": "1.0.0"}, namespace=namespace)
    conf = cluster.conf(clusterNetwork="m")
    words = ("network-attachment-definition kube-system/m", "may not start Multus itself")
    refused(cluster.add(conf, cluster.pod(cni_pod)), 7, *words)
    container = cluster.pod(cni_pod, {NETWORKS: "m"}, name="other")
    refused(cluster.add(cluster.default(), container), 7, "may not start Multus itself")
    cluster.delete(cluster.default(), container).require()
    assert cni_pod.links() == {}


def test_another_name_of_the_program(cluster: Cluster, cni_pod: Netns) -> None:
    """No name tells that this binary is Multus: the call itself does."""
    (program, *_) = cluster.runtime.program
    os.symlink(program, f"{cluster.bin.path}/my-meta")
    conf = cluster.conf(delegates=[{"type": "my-meta", "cniVersion": "1.0.0"}])
    refused_and_removed(cluster, conf, cni_pod, "plugin 'my-meta'")
    bridge = {"type": "bridge", "bridge": "br-x", "ipam": {"type": "my-meta"}}
    refused_and_removed(cluster, cluster.conf(delegates=[bridge]), cni_pod, "plugin 'bridge'")
    conf = cluster.conf(delegates=[{"type": "my-meta"}], cniVersion="1.1.0")
    status = cluster.runtime.status(conf)
    assert "Multus would call itself" in status.error["msg"]
