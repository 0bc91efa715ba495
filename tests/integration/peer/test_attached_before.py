"""Containers that the Go Multus attached: DEL, CHECK, GC, and what people are shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from integration.kube.cluster import Cluster
from integration.peer.attached import Network, attach
from multus.api.conf import Conf
from multus.api.request import Request
from multus.engine.assembly import engine_for
from multus.testing.delegates import Reply
from multus.testing.netns import Netns
from multus.testing.runtime import Container

PORT = {"hostPort": 8088, "containerPort": 80, "protocol": "tcp"}


@pytest.fixture
def before(cluster: Cluster) -> Cluster:
    """A node whose host has no rule yet, with every plugin that the Go Multus ran here."""
    cluster.bin.real("firewall")
    cluster.node.bridge("br0", "10.9.0.1/24")
    return cluster


def chain_of(cluster: Cluster) -> list[dict[str, Any]]:
    bridge = {"type": "bridge", "bridge": "br0", "ipam": cluster.ipam("10.9.0")}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return [bridge, portmap, {"type": "firewall"}]


def default(cluster: Cluster, ifname: str = "eth0", **asked: Any) -> Network:
    """The default network, with a host port unless something else is *asked*."""
    return Network("cluster", chain_of(cluster), ifname, asked or {"portMappings": [PORT]})


def second(cluster: Cluster, ifname: str = "net1") -> Network:
    return Network("second", [{"type": "ptp", "ipam": cluster.ipam("10.8.0")}], ifname)


def conf_of(cluster: Cluster, **keys: Any) -> dict[str, Any]:
    """The node's configuration now: the default network is that of the Go Multus."""
    network = {"name": "cluster", "plugins": chain_of(cluster)}
    conf = {"delegates": [network], "cniVersion": "1.1.0", "kubeconfig": None}
    return cluster.conf(**{**conf, **keys})


def left_of(cluster: Cluster, container: Container) -> list[str]:
    """What names the container: in the host's firewall, and in the files of Multus and of IPAM.

    The calls of stand-ins and the trace, which is a history, are left out.
    """
    rules = cluster.node.run("iptables-save").splitlines()
    found = [each for each in rules if container.id in each or "10.9.0." in each]
    for folder, _, names in os.walk(cluster.folder):
        for path in (Path(folder, name) for name in names if not name.endswith(".trace")):
            if container.id in path.name or container.id in path.read_text(errors="replace"):
                found.append(str(path))
    return found


@pytest.mark.parametrize("lossy", [False, True], ids=["4.3", "before 4.3"])
@pytest.mark.parametrize("gone", [False, True], ids=["netns", "no netns"])
def test_del_removes_rules_addresses_and_files(
    before: Cluster, cni_pod: Netns, lossy: bool, gone: bool
) -> None:
    container = Container(cni_pod.path)
    attach(before, container, default(before), second(before), lossy=lossy)
    assert len(left_of(before, container)) > 8  # three of Multus, two addresses, the rules
    if gone:
        cni_pod.remove()
    before.delete(conf_of(before), container).require()
    assert left_of(before, container) == []
    if not gone:
        assert cni_pod.links() == {}
    before.delete(conf_of(before), container).require()


def test_del_hands_each_plugin_the_result_and_what_was_asked(
    before: Cluster, cni_pod: Netns
) -> None:
    container = Container(cni_pod.path)
    attach(before, container, default(before), second(before, "lan0"))
    for name in ("bridge", "portmap", "firewall", "ptp"):
        before.bin.remove(name)
        before.bin.stand_in(name)
    invokers = dict.fromkeys(("ptp", "bridge", "portmap"), "exec")
    before.delete(conf_of(before, invokers=invokers), container).require()
    assert before.bin.commands("DEL") == [
        "DEL ptp lan0",
        "DEL firewall eth0",
        "DEL portmap eth0",
        "DEL bridge eth0",
    ]
    confs = {call.name: call.conf for call in before.bin.calls}
    assert confs["ptp"]["prevResult"]["ips"][0]["address"].startswith("10.8.0.")
    for name in ("firewall", "portmap", "bridge"):
        assert confs[name]["prevResult"]["ips"][0]["address"].startswith("10.9.0.")
    assert confs["portmap"]["runtimeConfig"] == {"portMappings": [PORT]}


def test_del_that_fails_can_be_repeated_with_the_result(before: Cluster, cni_pod: Netns) -> None:
    container = Container(cni_pod.path)
    attach(before, container, default(before))
    before.bin.remove("firewall")
    before.bin.stand_in("firewall", DEL=Reply.error(100, "not now"))
    assert before.delete(conf_of(before), container).error["code"] == 101
    before.bin.stand_in("firewall")
    before.delete(conf_of(before), container).require()
    first, again = (each.conf["prevResult"] for each in before.bin.calls)
    assert first["ips"] == again["ips"] != []


@pytest.mark.parametrize("verb", ["DEL", "GC"])
def test_what_a_failed_delete_of_the_go_multus_left_is_removed(
    before: Cluster, cni_pod: Netns, verb: str
) -> None:
    """Without ``retryDeleteOnError`` it keeps libcni's files alone."""
    container = Container(cni_pod.path)
    attach(before, container, default(before), second(before)).unlink()
    cni_pod.remove()
    if verb == "DEL":
        before.delete(conf_of(before), container).require()
    else:
        before.runtime.gc(conf_of(before)).require()
    assert left_of(before, container) == []


def test_without_libcnis_files_del_uses_what_the_runtime_gives(
    before: Cluster, cni_pod: Netns
) -> None:
    container = Container(cni_pod.path)
    network = default(before)
    path = attach(before, container, network)
    kept = path.parent / "results" / f"cluster-{container.id}-eth0"
    result = json.loads(kept.read_text())["result"]
    kept.unlink()
    conf = conf_of(before, runtimeConfig={"portMappings": [PORT]})
    before.delete(conf, container, result).require()
    assert left_of(before, container) == []


def test_check_succeeds_and_changes_nothing(before: Cluster, cni_pod: Netns) -> None:
    container = Container(cni_pod.path)
    # The system's portmap cannot check a mapping of one address family.
    path = attach(before, container, default(before, portMappings=[]), second(before))
    files = sorted(path.parent.rglob("*"))
    before.runtime.check(conf_of(before), container, {"cniVersion": "1.1.0"}).require()
    assert [each for each in sorted(path.parent.rglob("*")) if each.name != ".lock"] == files


def test_check_finds_an_interface_that_is_gone(before: Cluster, cni_pod: Netns) -> None:
    container = Container(cni_pod.path)
    attach(before, container, default(before), second(before))
    cni_pod.ip("link", "delete", "net1")
    error = before.runtime.check(conf_of(before), container, {"cniVersion": "1.1.0"}).error
    assert "net1" in f"{error['msg']} {error['details']}"


def test_gc_removes_the_dead_and_keeps_the_living(before: Cluster, cni_pods: Any) -> None:
    living, dead = Container(cni_pods().path), Container(cni_pods().path)
    attach(before, living, second(before, "eth0"))
    attach(before, dead, default(before))
    before.runtime.gc(conf_of(before), [living]).require()
    assert left_of(before, dead) == []
    # Its record, libcni's file, and its address.
    assert len(left_of(before, living)) == 3


@pytest.mark.parametrize("gone", [False, True], ids=["netns", "no netns"])
def test_gc_removes_those_of_another_default_network_once_the_namespace_is_gone(
    before: Cluster, cni_pod: Netns, gone: bool
) -> None:
    other = Container(cni_pod.path)
    attach(before, other, second(before, "eth0"))
    if gone:
        cni_pod.remove()
    before.runtime.gc(conf_of(before)).require()
    assert (left_of(before, other) == []) is gone


def test_gc_finds_the_name_of_the_interface(before: Cluster, cni_pod: Netns) -> None:
    dead = Container(cni_pod.path, ifname="ens5")
    attach(before, dead, default(before, "ens5"))
    before.runtime.gc(conf_of(before)).require()
    assert left_of(before, dead) == []


def test_the_command_gc_keeps_the_living_and_those_without_a_namespace(
    before: Cluster, cni_pods: Any
) -> None:
    ours, living, unknown, dead = (Container(cni_pods().path) for _ in range(4))
    conf = conf_of(before, delegates=[{"type": "ptp", "ipam": before.ipam("10.10.0")}])
    before.add(conf, ours).require()
    path = attach(before, living, second(before, "eth0"))
    attach(before, unknown, second(before, "eth0"), cached=False)
    attach(before, dead, default(before))
    Netns(Path(dead.netns).name).remove()
    argv = [*before.runtime.program, "gc", "--json", "--cni-dir", str(path.parent)]
    report = json.loads(before.node.run(*argv))
    assert {each["containerID"] for each in report["removed"]} == {dead.id}
    assert (report["left"], report["errors"]) == ([], [])
    assert left_of(before, dead) == []
    assert [len(left_of(before, each)) for each in (living, unknown)] == [3, 2]
    before.runtime.check(conf, ours, {}).require()


def test_recovery_leaves_a_living_container_alone(before: Cluster, cni_pod: Netns) -> None:
    """A CHECK whose process was killed must not delete a container of the Go Multus."""
    container = Container(cni_pod.path)
    path = attach(before, container, second(before, "eth0"))
    conf = Conf.from_wire(conf_of(before))
    engine_for(conf).recover(Request("DEL", container_id=container.id, ifname="eth0"), conf)
    assert path.exists() and "eth0" in cni_pod.links()
