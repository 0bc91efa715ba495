"""Keys of the Go Multus's configuration and daemon that change how networks are carried out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from integration.kube.cluster import Cluster
from multus.testing.delegates import Reply
from multus.testing.netns import Netns


def named(cluster: Cluster, **keys: Any) -> dict[str, Any]:
    """A configuration whose default network is a file of CNI 0.3.1, with one plugin ``step``."""
    folder = Path(cluster.folder, "net.d")
    folder.mkdir(exist_ok=True)
    lan = {"cniVersion": "0.3.1", "name": "lan", "plugins": [{"type": "step"}]}
    path = folder / "10-lan.conflist"
    path.write_text(json.dumps(lan))
    return cluster.conf(clusterNetwork=str(path), **keys)


@pytest.mark.parametrize("given", [{}, {"retryDeleteOnError": True}, {"retryDeleteOnError": False}])
def test_a_delete_that_failed_is_repeated_whatever_retry_delete_on_error_is(
    cluster: Cluster, cni_pod: Netns, given: dict[str, Any]
) -> None:
    cluster.bin.stand_in("step", DEL=Reply.error(100, "not now"))
    conf, container = named(cluster, **given), cluster.pod(cni_pod)
    cluster.add(conf, container).require()
    for _ in range(2):
        assert cluster.delete(conf, container).error["code"] == 101
    cluster.bin.stand_in("step")
    cluster.delete(conf, container).require()
    cluster.delete(conf, container).require()
    assert cluster.bin.commands("DEL") == ["DEL step eth0"] * 4


def test_a_configuration_may_have_the_name_of_its_default_network(
    cluster: Cluster, cni_pod: Netns
) -> None:
    """As ``overrideNetworkName`` makes it."""
    cluster.bin.stand_in("step")
    conf, container = named(cluster, name="lan", cniVersion="1.1.0"), cluster.pod(cni_pod)
    cluster.add(conf, container).require()
    cluster.runtime.gc(conf, [container]).require()
    assert cluster.bin.commands("DEL") == []
    cluster.delete(conf, container).require()
    assert cluster.bin.commands("ADD", "DEL") == ["ADD step eth0", "DEL step eth0"]


@pytest.mark.parametrize(
    ("given", "version"), [({}, "0.3.1"), ({"forceCNIVersion": True}, "1.0.0")]
)
def test_force_cni_version_replaces_the_one_of_the_default_networks_file(
    cluster: Cluster, cni_pod: Netns, given: dict[str, Any], version: str
) -> None:
    cluster.bin.stand_in("step")
    conf = named(cluster, **given)
    before = Path(conf["clusterNetwork"]).read_bytes()
    cluster.add(conf, cluster.pod(cni_pod)).require()
    assert cluster.bin.calls[0].conf["cniVersion"] == version
    assert Path(conf["clusterNetwork"]).read_bytes() == before
