"""Multus' own configuration in every form that the Go Multus acts on attaches the same networks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from integration.blackbox.program import refused
from integration.kube.cluster import NETWORKS, Cluster
from multus.testing.delegates import Reply
from multus.testing.netns import Netns
from multus.testing.runtime import Container

PTP: dict[str, Any] = {"cniVersion": "1.0.0", "type": "ptp", "name": "p0"}


def default(cluster: Cluster, subnet: str = "10.10.0") -> dict[str, Any]:
    return {**PTP, "ipam": cluster.ipam(subnet)}


def write(cluster: Cluster, name: str, config: dict[str, Any]) -> str:
    """A file in ``confDir``."""
    path = Path(cluster.folder) / "net.d" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(config))
    return str(path)


def addresses(netns: Netns) -> dict[str, list[str]]:
    return {name: netns.addresses(name) for name in netns.links()}


# --- Letter case ---------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["kubeConfig", "KubeConfig", "KUBECONFIG"])
def test_a_pod_gets_its_networks_by_a_kubeconfig_in_any_letter_case(
    cluster: Cluster, cni_pod: Netns, key: str
) -> None:
    cluster.bridge("a", "10.1.0")
    conf = cluster.default(kubeconfig=None, **{key: cluster.kubeconfig})
    cluster.add(conf, cluster.pod(cni_pod, {NETWORKS: "a"})).require()
    assert addresses(cni_pod) == {"eth0": ["10.10.0.2/24"], "net1": ["10.1.0.2/24"]}


def test_every_key_in_capitals_acts(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("a", "10.1.0")
    keys = {"namespaceIsolation": True, "globalNamespaces": "other", "logFile": cluster.folder}
    conf = cluster.default(**keys, logLevel="debug", logOptions={"MAXAGE": 1})
    conf["logFile"] += "/log"
    conf = {key.upper() if key != "type" else key: value for key, value in conf.items()}
    container = cluster.pod(cni_pod, {NETWORKS: "a"})
    result = cluster.add(conf, container).result
    assert addresses(cni_pod) == {"eth0": ["10.10.0.2/24"], "net1": ["10.1.0.2/24"]}
    assert Path(f"{cluster.folder}/log").read_text()
    cluster.delete(conf, container, result).require()
    assert addresses(cni_pod) == {}


def test_a_delegates_own_keys_have_any_letter_case(cluster: Cluster, cni_pod: Netns) -> None:
    ipam = {"Type": "host-local", **cluster.ipam("10.10.0")}
    del ipam["type"]
    single = {"CNIVersion": "1.0.0", "Name": "p0", "TYPE": "ptp", "IPAM": ipam, "MTU": 1400}
    cluster.add(cluster.conf(delegates=[single]), Container(cni_pod.path)).require()
    assert addresses(cni_pod) == {"eth0": ["10.10.0.2/24"]}
    assert cni_pod.links()["eth0"].mtu == 1400


def test_a_definitions_keys_have_any_letter_case(cluster: Cluster, cni_pod: Netns) -> None:
    plugins = [{"Type": "bridge", "Bridge": "br-a", "IPAM": cluster.ipam("10.1.0")}]
    cluster.nad("a", {"CNIVersion": "1.0.0", "Name": "x", "Plugins": plugins})
    cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: "a"})).require()
    assert addresses(cni_pod)["net1"] == ["10.1.0.2/24"]
    # As there, a name that is not spelled "name" is not the network's: the definition's is.
    assert sorted(os.listdir(f"{cluster.folder}/ipam")) == ["a", "p0"]


def test_a_file_of_the_node_has_any_letter_case(cluster: Cluster, cni_pod: Netns) -> None:
    write(
        cluster, "10-x.conf", {"Name": "x", **{k.upper(): v for k, v in default(cluster).items()}}
    )
    cluster.add(cluster.conf(clusterNetwork="p0"), Container(cni_pod.path)).require()
    assert addresses(cni_pod) == {"eth0": ["10.10.0.2/24"]}


def test_the_last_spelling_of_a_key_counts(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("a", "10.1.0")
    conf = cluster.default(kubeconfig="/nowhere", kubeConfig=cluster.kubeconfig, KUBECONFIG=None)
    conf["KUBECONFIG"] = None
    cluster.add(conf, cluster.pod(cni_pod, {NETWORKS: "a"})).require()
    assert addresses(cni_pod)["net1"] == ["10.1.0.2/24"]


# --- Two ways to list networks -------------------------------------------------------------------


def test_cluster_network_wins_over_delegates(cluster: Cluster, cni_pod: Netns) -> None:
    write(cluster, "10-other.conf", {**default(cluster, "10.20.0"), "name": "other"})
    conf = cluster.conf(delegates=[{"type": "nothing"}, {}], clusterNetwork="other")
    container = Container(cni_pod.path)
    answer = cluster.add(conf, container)
    assert addresses(cni_pod) == {"eth0": ["10.20.0.2/24"]}
    assert b"'delegates' stands beside 'clusterNetwork': it is ignored" in answer.stderr
    cluster.delete(conf, container, answer.result).require()
    assert addresses(cni_pod) == {}


def test_default_networks_come_with_it_and_are_ignored_beside_delegates(
    cluster: Cluster, cni_pod: Netns
) -> None:
    write(cluster, "10-other.conf", {**default(cluster, "10.20.0"), "name": "other"})
    write(cluster, "20-more.conf", {**default(cluster, "10.30.0"), "name": "more"})
    more = {"delegates": [default(cluster)], "defaultNetworks": ["more"]}
    container = Container(cni_pod.path)
    answer = cluster.add(cluster.conf(**more), container)
    assert addresses(cni_pod) == {"eth0": ["10.10.0.2/24"]}
    assert b"'defaultNetworks' stands beside 'delegates': it is ignored" in answer.stderr
    cluster.delete(cluster.conf(**more), container, answer.result).require()
    conf = cluster.conf(**more, clusterNetwork="other")
    cluster.add(conf, Container(cni_pod.path)).require()
    assert addresses(cni_pod) == {"eth0": ["10.20.0.2/24"], "net1": ["10.30.0.2/24"]}


# --- The log -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("info", {"verbose"}),
        ("INFO", {"verbose"}),
        ("trace", {"verbose", "debug"}),
        ("warning", set()),
        ("fatal", set()),
        ("loud", set()),
    ],
)
def test_a_log_level_of_other_programs_is_the_nearest_one(
    cluster: Cluster, cni_pod: Netns, level: str, written: set[str]
) -> None:
    log = Path(cluster.folder) / "log"
    conf = cluster.conf(delegates=[default(cluster)], logFile=str(log), logLevel=level)
    cluster.add(conf, Container(cni_pod.path)).require()
    lines = log.read_text().splitlines() if log.exists() else []
    found = {json.loads(line)["level"] for line in lines}
    assert found - {"error"} <= written
    assert "verbose" in found or not written


def test_log_options_below_zero_are_no_reason_to_refuse_a_pod(
    cluster: Cluster, cni_pod: Netns
) -> None:
    options = {"maxAge": -1, "maxSize": -1, "maxBackups": -1}
    conf = cluster.conf(delegates=[default(cluster)], logOptions=options)
    cluster.add(conf, Container(cni_pod.path)).require()
    assert addresses(cni_pod) == {"eth0": ["10.10.0.2/24"]}


# --- Paths ---------------------------------------------------------------------------------------


def test_relative_folders_are_those_of_the_working_folder(
    cluster: Cluster, cni_pod: Netns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cluster.folder)
    write(cluster, "10-other.conf", {**default(cluster), "name": "other", "type": "mine"})
    os.makedirs(f"{cluster.folder}/here")
    for name, plugin in (("mine", "ptp"), ("host-local", "host-local")):
        os.symlink(f"{cluster.bin.path}/{plugin}", f"{cluster.folder}/here/{name}")
    named = cluster.conf(clusterNetwork="./net.d/10-other.conf", confDir="net.d", logFile="log")
    for more in ({"binDir": "here"}, {}):
        runtime = evolve(cluster.runtime, cni_path="./here")
        container = Container(cni_pod.path)
        result = runtime.add({**named, **more}, container).result
        assert len(addresses(cni_pod)["eth0"]) == 1
        runtime.delete({**named, **more}, container, result).require()
    assert os.path.exists(f"{cluster.folder}/log")


def test_records_are_not_left_to_the_working_folder(cluster: Cluster, cni_pod: Netns) -> None:
    conf = cluster.conf(delegates=[default(cluster)], cniDir="multus")
    refused(cluster.add(conf, Container(cni_pod.path)), 7, "cniDir", "relative")


def test_a_kubeconfigs_server_needs_no_scheme(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("a", "10.1.0")
    text = Path(cluster.kubeconfig).read_text()
    assert "https://" in text
    Path(cluster.kubeconfig).write_text(text.replace("https://", ""))
    cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: "a"})).require()
    assert addresses(cni_pod)["net1"] == ["10.1.0.2/24"]


def test_a_readiness_file_is_found_by_a_relative_path(
    cluster: Cluster, cni_pod: Netns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cluster.folder)
    Path("ready").touch()
    conf = cluster.conf(delegates=[default(cluster)], readinessindicatorfile="ready")
    cluster.add(conf, Container(cni_pod.path)).require()


def test_a_plugins_result_is_read_in_any_letter_case(cluster: Cluster, cni_pod: Netns) -> None:
    printed = {
        "CNIVersion": "1.0.0",
        "Interfaces": [{"Name": "eth0", "MAC": "02:00:5e:10:00:01", "Sandbox": cni_pod.path}],
        "IPs": [{"Address": "10.9.0.2/24", "Gateway": "10.9.0.1", "Interface": 0}],
        "Routes": [{"Dst": "0.0.0.0/0", "GW": "10.9.0.1"}],
        "DNS": {"NameServers": ["10.9.0.1"]},
    }
    cluster.bin.stand_in("odd", ADD=Reply.json(printed))
    conf = cluster.conf(delegates=[{"type": "odd"}])
    result = cluster.add(conf, Container(cni_pod.path)).result
    assert result["interfaces"][0]["mac"] == "02:00:5e:10:00:01"
    assert result["ips"] == [{"address": "10.9.0.2/24", "gateway": "10.9.0.1", "interface": 0}]
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.9.0.1"}]
    assert result["dns"] == {"nameservers": ["10.9.0.1"]}
