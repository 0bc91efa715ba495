"""CHECK of plugins whose own CHECK cannot work: the kernel decides, and says what is wrong.

Facts: the Go Multus calls CHECK of no network of an annotation.  The reference ``bridge`` up to
1.1.1 answers every CHECK without ``ipam`` with an error.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from attrs import frozen

from integration.kube.cluster import NETWORKS, Cluster
from multus.testing.delegates import Reply, real_plugin
from multus.testing.netns import Netns
from multus.testing.runtime import Answer, Container


@frozen
class Pod:
    """A pod with the network ``net-a`` beside its default network."""

    cluster: Cluster
    conf: dict[str, Any]
    container: Container
    result: Any

    def check(self) -> Answer:
        return self.cluster.runtime.check(self.conf, self.container, self.result)

    def failed(self, *words: str) -> None:
        """Require that CHECK fails with each of *words*."""
        error = self.check().error
        text = f"{error['msg']} {error.get('details', '')}"
        assert [word for word in words if word not in text] == [], text


def added(cluster: Cluster, netns: Netns, *plugins: dict[str, Any]) -> Pod:
    wire = {"cniVersion": "1.0.0", "name": "net-a", "plugins": list(plugins)}
    cluster.nad("net-a", wire)
    conf = cluster.default()
    container = cluster.pod(netns, {NETWORKS: "net-a"})
    return Pod(cluster, conf, container, cluster.add(conf, container).require().json)


BRIDGE = {"type": "bridge", "bridge": "br-a"}
#: A CHECK that fails in the same way for every container.
BROKEN = Reply.error(999, "no plugin name provided")


def broken_bridge(cluster: Cluster) -> dict[str, Any]:
    """The system's bridge, whose CHECK fails in the way of the reference one up to 1.1.1."""
    real = real_plugin("bridge")
    error = BROKEN.stdout
    script = f"""#!/bin/sh
[ "$CNI_COMMAND" = CHECK ] || exec {real}
cat >/dev/null; echo '{error}'; exit 1
"""
    cluster.bin.file("broken", script.encode())
    return {**BRIDGE, "type": "broken"}


@pytest.mark.parametrize("kind", ["bridge", "broken"])
def test_an_error_that_is_the_same_for_every_container_is_logged_and_the_kernel_decides(
    cluster: Cluster, cni_pod: Netns, kind: str
) -> None:
    pod = added(cluster, cni_pod, BRIDGE if kind == "bridge" else broken_bridge(cluster))
    answer = pod.check().require()
    if kind == "broken":
        assert b"no plugin name provided" in answer.stderr
        assert b"default/net-a" in answer.stderr
    cni_pod.ip("link", "set", "net1", "address", "02:00:00:00:00:99")
    pod.failed("default/net-a", "net1 has MAC 02:00:00:00:00:99")
    cni_pod.ip("link", "delete", "net1")
    pod.failed("default/net-a", "interface net1 is gone")


def test_a_plugin_that_is_not_installed_any_more_is_no_fault_of_the_pod(
    cluster: Cluster, cni_pod: Netns
) -> None:
    pod = added(cluster, cni_pod, BRIDGE)
    pod.cluster.bin.remove("bridge")
    pod.check().require()
    cni_pod.ip("link", "delete", "net1")
    pod.failed("interface net1 is gone")


def test_what_the_plugin_alone_can_see_still_fails(cluster: Cluster, cni_pod: Netns) -> None:
    pod = added(cluster, cni_pod, {**BRIDGE, "ipam": cluster.ipam("10.1.0")})
    pod.check().require()
    os.unlink(f"{cluster.folder}/ipam/net-a/10.1.0.2")
    pod.failed("default/net-a", "address 10.1.0.2 is not reserved", pod.container.id)


@pytest.mark.parametrize("first", ["the interface's", "another step of the chain"])
def test_a_plugin_whose_work_the_kernel_does_not_show_is_believed(
    cluster: Cluster, cni_pod: Netns, first: str
) -> None:
    """A result without an interface, and a later step of a chain, cannot be compared."""
    cluster.bin.stand_in("step", ADD=Reply.json({"cniVersion": "1.0.0"}), CHECK=BROKEN)
    step = {"type": "step"}
    pod = added(cluster, cni_pod, *([step] if first == "the interface's" else [BRIDGE, step]))
    pod.failed("default/net-a", "'step'", "no plugin name provided")
