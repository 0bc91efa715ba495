"""An ADD to the node's own network namespace is refused with code 8, and nothing is done before.

Facts: libcni's skeleton refuses it with code 8 after the plugin has run, so on the Go Multus the
node keeps the interface and the default route.  ``CNI_NETNS_OVERRIDE`` says that it is meant.
"""

from __future__ import annotations

import os

import pytest
from attrs import evolve

from integration.blackbox.program import refused
from integration.kube.cluster import Cluster
from multus.testing.netns import Netns
from multus.testing.runtime import Container


@pytest.fixture
def own(cluster: Cluster) -> Container:
    """A container whose namespace is the one that Multus is started in."""
    return Container(cluster.node.path)


def conf_of(cluster: Cluster) -> dict[str, object]:
    ptp = {"type": "ptp", "name": "p0", "ipam": cluster.ipam("10.10.0", default_route=True)}
    return cluster.conf(kubeconfig=None, delegates=[ptp], invokers={"ptp": "exec"})


def test_nothing_is_done_to_the_node(cluster: Cluster, own: Container) -> None:
    links, routes = cluster.node.links(), cluster.node.ip("route")
    refused(cluster.add(conf_of(cluster), own), 8, "CNI_NETNS", own.netns)
    assert (cluster.node.links(), cluster.node.ip("route")) == (links, routes)
    assert not os.path.exists(f"{cluster.folder}/ipam/p0")


#: Runs a command while this process is number 1.
_FIRST = ("unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", '"$@"; exit $?', "sh")


def test_by_any_path_and_of_the_first_process_too(cluster: Cluster, cni_pod: Netns) -> None:
    """A program in a namespace of its own, such as a pod's, is not on the node's network."""
    cluster.bin.stand_in("recorder")
    conf = cluster.conf(kubeconfig=None, delegates=[{"type": "recorder"}])
    inside = cni_pod.command(cluster.runtime.program)
    elsewhere = evolve(cluster.runtime, program=(*_FIRST, *inside))
    for path in ("/proc/self/ns/net", "/proc/1/ns/net", cluster.node.path, cni_pod.path):
        refused(elsewhere.add(conf, Container(path)), 8, path)
    assert cluster.bin.calls == []


def test_del_succeeds_and_deletes_no_interface_of_the_node(
    cluster: Cluster, own: Container
) -> None:
    """On the Go Multus the plugin deletes the node's interface of that name."""
    cluster.node.ip("link", "add", own.ifname, "type", "veth", "peer", "name", "uplink1")
    links = cluster.node.links()
    cluster.delete(conf_of(cluster), own).require()
    assert cluster.node.links() == links


def test_a_tool_that_means_it_says_so(cluster: Cluster, own: Container) -> None:
    """As on the Go Multus, whose skeleton reads ``CNI_NETNS_OVERRIDE``."""
    cluster.bin.stand_in("recorder")
    conf = cluster.conf(kubeconfig=None, delegates=[{"type": "recorder"}])
    meant = {**own.environ(), "CNI_NETNS_OVERRIDE": "true"}
    cluster.runtime.call("ADD", conf, meant).require()
    cluster.runtime.call("DEL", conf, meant).require()
    assert [each.environ["CNI_NETNS"] for each in cluster.bin.calls] == [own.netns] * 2
