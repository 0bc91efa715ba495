"""Results of delegates: what starts on the Go Multus starts here; the status says what is there.

Facts: libcni decodes addresses and destinations in CIDR form only, and takes any index of an
interface.  The NAD client library gives each interface in the pod a status of its own.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from integration.blackbox.program import refused
from integration.kube.cluster import NETWORKS, Cluster
from multus.testing.delegates import Reply, real_plugin
from multus.testing.netns import Netns
from multus.testing.runtime import Container

POD = "@NETNS@"


def edited(cluster: Cluster, script: str) -> None:
    """Add the plugin ``edited``: the system's bridge, whose results the sed *script* changes."""
    real = real_plugin("bridge")
    text = f"""#!/bin/sh
[ "$CNI_COMMAND" = ADD ] || exec {real}
result=$({real}) || {{ status=$?; printf %s "$result"; exit $status; }}
printf '%s\\n' "$result" | sed '{script}'
"""
    cluster.bin.file("edited", text.encode())


def pod_of(cluster: Cluster, netns: Netns, script: str) -> Container:
    """A pod with the network ``net-a``, whose plugin is ``edited``."""
    edited(cluster, script)
    ipam = {**cluster.ipam("10.1.0"), "routes": [{"dst": "10.9.0.0/16", "gw": "10.1.0.1"}]}
    cluster.bridge("net-a", "10.1.0", type="edited", ipam=ipam)
    return cluster.pod(netns, {NETWORKS: "net-a"})


@pytest.mark.parametrize("index", [-1, 7])
def test_an_index_of_no_interface_starts_and_is_checked(
    cluster: Cluster, cni_pod: Netns, index: int
) -> None:
    """On the Go Multus too: libcni takes any number."""
    container = pod_of(cluster, cni_pod, rf's/"interface": *[0-9]*/"interface": {index}/')
    conf = cluster.default(logLevel="verbose")
    answer = cluster.add(conf, container).require()
    result = answer.json
    assert b"an address is on an interface that the result does not have" in answer.stderr
    assert cni_pod.addresses("net1") == ["10.1.0.2/24"]
    assert [each["interface"] for each in cluster.status()] == ["eth0", "net1"]
    assert cluster.status()[1]["ips"] == ["10.1.0.2"]
    cluster.runtime.check(conf, container, result).require()
    cluster.delete(conf, container).require()
    assert "net1" not in cni_pod.links()


WRONG = {
    "an address without its prefix length": r's/\("address": "[0-9.]*\)\/[0-9]*/\1/',
    "a destination that is a word": r's/"dst": "[0-9./]*"/"dst": "default"/',
}


@pytest.mark.parametrize("script", WRONG.values(), ids=WRONG)
def test_what_libcni_cannot_decode_is_refused_with_the_network_and_undone(
    cluster: Cluster, cni_pod: Netns, script: str
) -> None:
    """On the Go Multus too, where the interface and its address stay behind."""
    container = pod_of(cluster, cni_pod, script)
    answer = cluster.add(cluster.default(), container)
    refused(answer, 6, "default/net-a", "'edited'", "net1", "CIDR form")
    assert cni_pod.links() == {}
    ((kind, reason, message),) = cluster.events()
    assert (kind, reason) == ("Warning", "NetworkAttachmentFailed")
    assert "default/net-a" in message


def reported(cluster: Cluster, netns: Netns, result: dict[str, Any], **primary: Any) -> None:
    """Add a pod whose network ``net-a``, or whose *primary*, has *result*."""
    wire = {"cniVersion": "1.0.0", **result}
    cluster.bin.stand_in("reporter", ADD=Reply.json(wire))
    cluster.nad("net-a", {"cniVersion": "1.0.0", "type": "reporter"})
    conf = cluster.conf(delegates=[primary]) if primary else cluster.default()
    cluster.add(conf, cluster.pod(netns, {} if primary else {NETWORKS: "net-a"})).require()


TWO = {
    "interfaces": [
        {"name": "veth0", "mac": "02:00:00:00:01:00"},
        {"name": "net1", "mac": "02:00:00:00:01:01", "sandbox": POD},
        {"name": "net1b", "mac": "02:00:00:00:01:02", "sandbox": POD},
    ],
    "ips": [
        {"address": "10.5.0.2/24", "interface": 1},
        {"address": "10.6.0.2/24", "interface": 2, "gateway": "10.6.0.1"},
    ],
    "routes": [{"dst": "0.0.0.0/0", "gw": "10.6.0.1"}],
}


def test_each_interface_of_a_network_has_a_status(cluster: Cluster, cni_pod: Netns) -> None:
    reported(cluster, cni_pod, TWO)
    seen = [(e["name"], e["interface"], e["ips"], e["default"]) for e in cluster.status()]
    assert seen == [
        ("p0", "eth0", ["10.10.0.2"], True),
        ("default/net-a", "net1", ["10.5.0.2"], False),
        ("default/net-a", "net1b", ["10.6.0.2"], False),
    ]


def test_the_default_is_the_primarys_interface_with_the_gateway(
    cluster: Cluster, cni_pod: Netns
) -> None:
    reported(cluster, cni_pod, TWO, type="reporter", name="two")
    seen = [(each["interface"], each["default"], each["gateway"]) for each in cluster.status()]
    assert seen == [("net1", False, ["10.6.0.1"]), ("net1b", True, ["10.6.0.1"])]


@pytest.mark.parametrize(
    "result", [{}, {"interfaces": [{"name": "br0"}, {"name": "veth0"}]}], ids=json.dumps
)
def test_what_made_no_interface_in_the_pod_has_no_status(
    cluster: Cluster, cni_pod: Netns, result: dict[str, Any]
) -> None:
    reported(cluster, cni_pod, result)
    assert [each["interface"] for each in cluster.status()] == ["eth0"]


def test_an_interface_that_an_old_result_cannot_name_has_a_status(
    cluster: Cluster, cni_pod: Netns
) -> None:
    """Results before CNI 0.3.0 have no interfaces; the Go Multus writes no status of them."""
    cluster.bridge("net-a", "10.1.0", cniVersion="0.2.0")
    cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: "net-a"})).require()
    there = cluster.status()[1]
    assert (there["interface"], there["ips"]) == ("net1", ["10.1.0.2"])
    assert there["mac"] == cni_pod.links()["net1"].mac
