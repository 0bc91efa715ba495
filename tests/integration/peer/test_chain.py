"""``auxiliaryCNIChainName``: plugins that a node carries out for every pod."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from integration.blackbox.program import refused
from integration.kube.cluster import DEFAULT_NETWORK, NETWORKS, STATUS, Cluster
from multus.testing.delegates import Reply
from multus.testing.netns import Netns

CHAIN = "vendor-cni-chain"
NOTHING = Reply.json({"cniVersion": "1.0.0"})


class Vendor:
    """A node whose default network is a file, with the folder of the chain beside it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.net_d = Path(cluster.folder, "net.d")
        ptp = {"type": "ptp", "ipam": cluster.ipam("10.10.0")}
        default = {"cniVersion": "1.0.0", "name": "cluster", "plugins": [ptp]}
        self.write("10-cluster.conflist", default)
        path = str(self.net_d / "10-cluster.conflist")
        self.conf = cluster.conf(clusterNetwork=path, auxiliaryCNIChainName=CHAIN)

    def write(self, name: str, config: Any) -> Path:
        path = self.net_d / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return path

    def step(self, name: str) -> None:
        """A plugin that attaches nothing, in the chain's folder."""
        self.cluster.bin.stand_in(name, ADD=NOTHING)
        self.write(f"{CHAIN}/{name}.conf", {"type": name, "name": f"its-{name}", "key": "one"})


@pytest.fixture
def vendor(cluster: Cluster) -> Vendor:
    return Vendor(cluster)


def arp_filter(netns: Netns, ifname: str = "eth0") -> str:
    return netns.run("cat", f"/proc/sys/net/ipv4/conf/{ifname}/arp_filter").strip()


TUNING = {"cniVersion": "1.0.0", "name": "sysctltwiddle", "type": "tuning"}


def test_a_chain_in_the_folder_of_its_name_runs_for_a_pod(vendor: Vendor, cni_pod: Netns) -> None:
    sysctl = {"net.ipv4.conf.eth0.arp_filter": "1"}
    vendor.write(f"{CHAIN}/sysctltwiddle.conf", {**TUNING, "sysctl": sysctl})
    container = vendor.cluster.pod(cni_pod)
    assert vendor.cluster.add(vendor.conf, container).result["interfaces"][1]["name"] == "eth0"
    assert list(cni_pod.links()) == ["eth0"]
    assert arp_filter(cni_pod) == "1"
    vendor.cluster.delete(vendor.conf, container).require()
    assert cni_pod.links() == {}


def test_check_finds_what_differs_though_the_chain_has_no_interface(
    vendor: Vendor, cni_pod: Netns
) -> None:
    """The system's tuning looks for an interface in every CHECK."""
    sysctl = {"net.ipv4.conf.eth0.arp_filter": "1"}
    vendor.write(f"{CHAIN}/sysctltwiddle.conf", {**TUNING, "sysctl": sysctl})
    container = vendor.cluster.pod(cni_pod)
    result = vendor.cluster.add(vendor.conf, container).result
    vendor.cluster.runtime.check(vendor.conf, container, result).require()
    cni_pod.run("sh", "-c", "echo 0 > /proc/sys/net/ipv4/conf/eth0/arp_filter")
    error = vendor.cluster.runtime.check(vendor.conf, container, result).error
    assert CHAIN in error["msg"] and "net1" in error["msg"]


def test_it_runs_after_all_networks_of_a_pod_and_is_deleted_first(
    vendor: Vendor, cni_pod: Netns
) -> None:
    cluster = vendor.cluster
    for name in ("b-step", "a-step"):
        vendor.step(name)
    cluster.bridge("net-a", "10.1.0")
    container = cluster.pod(cni_pod, {NETWORKS: "net-a"})
    result = cluster.add(vendor.conf, container).result
    assert set(cni_pod.links()) == {"eth0", "net1"}
    cluster.runtime.check(vendor.conf, container, result).require()
    cluster.delete(vendor.conf, container).require()
    assert cluster.bin.commands("ADD", "CHECK", "DEL") == [
        *(f"{verb} {name} net2" for verb in ("ADD", "CHECK") for name in ("a-step", "b-step")),
        "DEL b-step net2",
        "DEL a-step net2",
    ]
    first = cluster.bin.calls[0].conf
    assert (first["name"], first["cniVersion"], first["key"]) == (CHAIN, "1.0.0", "one")
    assert first["prevResult"]["cniVersion"] == "1.0.0"


@pytest.mark.parametrize("namespace", ["default", "kube-system"])
def test_it_runs_in_every_namespace(vendor: Vendor, cni_pod: Netns, namespace: str) -> None:
    vendor.step("step")
    container = vendor.cluster.pod(cni_pod, namespace=namespace)
    vendor.cluster.add(vendor.conf, container).require()
    assert vendor.cluster.bin.commands() == ["ADD step net1"]


def test_it_runs_for_a_pod_with_another_default_network(vendor: Vendor, cni_pod: Netns) -> None:
    vendor.step("step")
    vendor.cluster.bridge("other", "10.2.0", namespace="kube-system")
    container = vendor.cluster.pod(cni_pod, {DEFAULT_NETWORK: "other"})
    vendor.cluster.add(vendor.conf, container).require()
    assert cni_pod.addresses("eth0")[0].startswith("10.2.0.")
    assert vendor.cluster.bin.commands() == ["ADD step net1"]


@pytest.mark.parametrize("empty", [True, False])
def test_a_chain_without_files_is_empty(vendor: Vendor, cni_pod: Netns, empty: bool) -> None:
    if empty:
        vendor.write(f"{CHAIN}/notes.txt", "for people")
    container = vendor.cluster.pod(cni_pod)
    vendor.cluster.add(vendor.conf, container).require()
    assert [each["name"] for each in vendor.cluster.status()] == ["cluster"]
    vendor.cluster.delete(vendor.conf, container).require()


def test_it_has_neither_a_status_nor_an_event(vendor: Vendor, cni_pod: Netns) -> None:
    vendor.step("step")
    vendor.cluster.add(vendor.conf, vendor.cluster.pod(cni_pod)).require()
    assert [each["name"] for each in json.loads(vendor.cluster.annotations()[STATUS])] == [
        "cluster"
    ]
    messages = [message for _, _, message in vendor.cluster.events()]
    assert not any(CHAIN in message for message in messages), messages


def test_files_that_change_before_del_do_not_matter(vendor: Vendor, cni_pod: Netns) -> None:
    vendor.step("step")
    container = vendor.cluster.pod(cni_pod)
    vendor.cluster.add(vendor.conf, container).require()
    (vendor.net_d / CHAIN / "step.conf").unlink()
    vendor.write(f"{CHAIN}/other.conf", "{ not JSON")
    vendor.cluster.delete(vendor.conf, container).require()
    assert vendor.cluster.bin.commands() == ["ADD step net1", "DEL step net1"]
    assert vendor.cluster.bin.calls[1].conf["key"] == "one"


def test_gc_deletes_it_for_a_container_that_is_gone(vendor: Vendor, cni_pod: Netns) -> None:
    vendor.step("step")
    conf = {**vendor.conf, "cniVersion": "1.1.0"}
    vendor.cluster.add(conf, vendor.cluster.pod(cni_pod)).require()
    vendor.cluster.runtime.gc(conf).require()
    assert "DEL step net1" in vendor.cluster.bin.commands()
    assert cni_pod.links() == {}


def test_a_plugin_that_fails_undoes_the_pod(vendor: Vendor, cni_pod: Netns) -> None:
    vendor.step("a-step")
    vendor.step("b-step")
    vendor.cluster.bin.stand_in("b-step", ADD=Reply.error(100, "not today"))
    answer = vendor.cluster.add(vendor.conf, vendor.cluster.pod(cni_pod))
    refused(answer, 101, "not today", CHAIN)
    assert vendor.cluster.bin.commands("DEL") == ["DEL b-step net1", "DEL a-step net1"]
    assert cni_pod.links() == {}


def test_a_damaged_file_is_named_and_no_pod_comes_up_without_its_chain(
    vendor: Vendor, cni_pod: Netns
) -> None:
    path = vendor.write(f"{CHAIN}/half.conf", '{"type": "tun')
    container = vendor.cluster.pod(cni_pod)
    refused(vendor.cluster.add(vendor.conf, container), 6, str(path))
    assert cni_pod.links() == {}
    path = vendor.write(f"{CHAIN}/half.conf", {"sysctl": {}})
    refused(vendor.cluster.add(vendor.conf, container), 7, str(path), "'type'")
    vendor.cluster.delete(vendor.conf, container).require()


def test_a_damaged_file_does_not_keep_a_del_without_a_record_from_the_networks(
    vendor: Vendor, cni_pod: Netns
) -> None:
    container = vendor.cluster.pod(cni_pod)
    vendor.cluster.add(vendor.conf, container).require()
    Path(vendor.cluster.folder, "multus", f"{container.id}:eth0").unlink()
    vendor.write(f"{CHAIN}/half.conf", '{"type": "tun')
    vendor.cluster.delete(vendor.conf, container).require()
    assert cni_pod.links() == {}


@pytest.mark.parametrize("name", ["10-cluster.conflist", f"{CHAIN}/step.conf"])
def test_a_fifo_is_named_at_once_and_a_del_without_a_record_succeeds(
    vendor: Vendor, cni_pod: Netns, name: str
) -> None:
    path = vendor.write(name, "")
    path.unlink()
    os.mkfifo(path)
    container = vendor.cluster.pod(cni_pod)
    refused(vendor.cluster.add(vendor.conf, container), 5, str(path), "FIFO")
    vendor.cluster.delete(vendor.conf, container).require()
    assert cni_pod.links() == {}


@pytest.mark.parametrize("name", ["cluster", None])
def test_without_a_path_in_cluster_network_it_is_refused(
    vendor: Vendor, cni_pod: Netns, name: str | None
) -> None:
    vendor.step("step")
    ptp = [{"type": "ptp", "ipam": vendor.cluster.ipam("10.10.0")}]
    conf = {**vendor.conf, "clusterNetwork": name, **({} if name else {"delegates": ptp})}
    container = vendor.cluster.pod(cni_pod)
    refused(vendor.cluster.add(conf, container), 7, "auxiliaryCNIChainName", "clusterNetwork")
    vendor.cluster.delete(conf, container).require()


def test_passthru_needs_no_binary_in_a_definition(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bin.stand_in("step", ADD=NOTHING)
    cluster.nad("pass", {"plugins": [{"type": "passthru"}, {"type": "step"}]})
    container = cluster.pod(cni_pod, {NETWORKS: "pass"})
    cluster.add(cluster.default(), container).require()
    assert cluster.bin.commands() == ["ADD step net1"]
    cluster.delete(cluster.default(), container).require()


def test_the_folder_of_the_default_network_adds_plugins_to_its_own_chain(
    vendor: Vendor, cni_pod: Netns
) -> None:
    sysctl = {"net.ipv4.conf.IFNAME.arp_filter": "1"}
    vendor.write("cluster/sysctltwiddle.conf", {**TUNING, "sysctl": sysctl})
    vendor.cluster.add(vendor.conf, vendor.cluster.pod(cni_pod)).require()
    assert arp_filter(cni_pod) == "1"
