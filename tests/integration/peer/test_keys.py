"""Keys of the Go Multus's configuration that mean the same here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from integration.blackbox.program import refused
from integration.kube.cluster import DEFAULT_NETWORK, NETWORKS, Cluster
from multus.testing.delegates import BinDir, Reply
from multus.testing.netns import Netns


def file(cluster: Cluster, name: str, subnet: str, folder: str = "net.d") -> Path:
    """A file that has the network *name*, a bridge with addresses of *subnet*."""
    path = Path(cluster.folder, folder, f"{name}.conf")
    path.parent.mkdir(parents=True, exist_ok=True)
    bridge = {"cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": f"br-{name}"}
    path.write_text(json.dumps({**bridge, "ipam": cluster.ipam(subnet)}))
    return path


def attached(netns: Netns) -> dict[str, str]:
    """The network (10.1.0 for example) of each interface's address."""
    return {
        name: netns.addresses(name)[0].rpartition(".")[0]
        for name in netns.links()
        if netns.addresses(name)
    }


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
def test_the_result_has_the_configurations_version(
    cluster: Cluster, cni_pod: Netns, version: str
) -> None:
    conf = cluster.default(cniVersion=version, name="any-name")
    assert cluster.add(conf, cluster.pod(cni_pod)).result["cniVersion"] == version


def test_keys_for_the_runtime_and_keys_that_are_not_acted_on_change_nothing(
    cluster: Cluster, cni_pod: Netns
) -> None:
    conf = cluster.default(
        capabilities={"portMappings": True, "bandwidth": True},
        dns={"nameservers": ["192.0.2.53"]},
        ipam={"type": "nobody-has-this"},
        args={"cni": {"mac": "not a MAC"}},
        cniVersions=["0.4.0", "1.0.0"],
        disableCheck=True,
        disableGC=True,
    )
    result = cluster.add(conf, cluster.pod(cni_pod)).result
    assert attached(cni_pod) == {"eth0": "10.10.0"}
    assert "192.0.2.53" not in json.dumps(result)


def test_the_runtimes_ports_are_for_the_default_network_alone(
    cluster: Cluster, cni_pod: Netns
) -> None:
    cluster.bin.stand_in("ports", ADD=Reply.json({"cniVersion": "1.0.0"}))
    ports = {"cniVersion": "1.0.0", "type": "ports", "capabilities": {"portMappings": True}}
    cluster.nad("more", ports)
    asked = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
    conf = cluster.conf(delegates=[ports], runtimeConfig={"portMappings": asked})
    cluster.add(conf, cluster.pod(cni_pod, {NETWORKS: "more"})).require()
    first, second = cluster.bin.calls
    assert first.conf["runtimeConfig"] == {"portMappings": asked}
    assert "runtimeConfig" not in second.conf


def test_del_and_check_with_the_result_that_add_gave(cluster: Cluster, cni_pod: Netns) -> None:
    conf, container = cluster.default(), cluster.pod(cni_pod)
    result = cluster.add(conf, container).result
    cluster.runtime.check(conf, container, result).require()
    cluster.delete(conf, container, result).require()
    assert cni_pod.links() == {}


def test_delegates_are_attached_in_order(cluster: Cluster, cni_pod: Netns) -> None:
    delegates = [
        {"type": "ptp", "name": "first", "ipam": cluster.ipam("10.1.0")},
        {"type": "bridge", "name": "second", "bridge": "br-2", "ipam": cluster.ipam("10.2.0")},
    ]
    cluster.add(cluster.conf(delegates=delegates), cluster.pod(cni_pod)).require()
    assert sorted(attached(cni_pod).values()) == ["10.1.0", "10.2.0"]
    assert attached(cni_pod)["eth0"] == "10.1.0"


def test_networks_of_the_configuration_by_name_in_conf_dir(
    cluster: Cluster, cni_pod: Netns
) -> None:
    file(cluster, "lan", "10.1.0")
    file(cluster, "in-a-folder", "10.2.0", folder="net.d/folder")
    by_path = file(cluster, "by-path", "10.3.0", folder="elsewhere")
    conf = cluster.conf(clusterNetwork="lan", defaultNetworks=["folder", str(by_path)])
    cluster.add(conf, cluster.pod(cni_pod)).require()
    assert attached(cni_pod) == {"eth0": "10.1.0", "net1": "10.2.0", "net2": "10.3.0"}


def test_cni_dir_has_a_file_for_the_container_until_its_del(
    cluster: Cluster, cni_pod: Netns
) -> None:
    folder = Path(cluster.folder, "own-state")
    conf, container = cluster.default(cniDir=str(folder)), cluster.pod(cni_pod)
    cluster.add(conf, container).require()
    assert [each for each in folder.rglob("*") if container.id in each.name]
    cluster.delete(conf, container).require()
    assert not [each for each in folder.rglob("*") if container.id in each.name]


def test_bin_dir_comes_before_the_runtimes_path(
    cluster: Cluster, cni_pod: Netns, tmp_path: Path
) -> None:
    other = BinDir(str(tmp_path / "other-bin"))
    for each in (cluster.bin, other):
        each.stand_in("step", ADD=Reply.json({"cniVersion": "1.0.0"}))
    conf = cluster.conf(delegates=[{"type": "step"}], binDir=other.path)
    cluster.add(conf, cluster.pod(cni_pod)).require()
    assert (other.commands(), cluster.bin.commands()) == (["ADD step eth0"], [])


@pytest.mark.parametrize(
    ("keys", "namespace", "expected"),
    [
        ({}, "default", ["eth0", "net1"]),
        ({}, "kube-system", ["eth0"]),
        ({"systemNamespaces": ["infra"]}, "infra", ["eth0"]),
        ({"systemNamespaces": ["infra"]}, "kube-system", ["eth0", "net1"]),
    ],
)
def test_pods_of_system_namespaces_get_the_cluster_network_alone(
    cluster: Cluster, cni_pod: Netns, keys: dict[str, Any], namespace: str, expected: list[str]
) -> None:
    file(cluster, "lan", "10.1.0")
    file(cluster, "more", "10.2.0")
    conf = cluster.conf(clusterNetwork="lan", defaultNetworks=["more"], **keys)
    cluster.add(conf, cluster.pod(cni_pod, namespace=namespace)).require()
    assert sorted(attached(cni_pod)) == expected


@pytest.mark.parametrize("namespace", [None, "net-system"])
def test_definitions_of_the_configuration_are_in_multus_namespace(
    cluster: Cluster, cni_pod: Netns, namespace: str | None
) -> None:
    cluster.bridge("lan", "10.1.0", namespace=namespace or "kube-system")
    cluster.bridge("more", "10.2.0", namespace=namespace or "kube-system")
    cluster.bridge("lan", "10.3.0", namespace="default")
    keys = {"multusNamespace": namespace} if namespace else {}
    conf = cluster.conf(clusterNetwork="lan", defaultNetworks=["more"], **keys)
    cluster.add(conf, cluster.pod(cni_pod)).require()
    assert attached(cni_pod) == {"eth0": "10.1.0", "net1": "10.2.0"}


@pytest.mark.parametrize("read", [True, False])
def test_a_kubeconfig_lets_pods_choose(cluster: Cluster, cni_pod: Netns, read: bool) -> None:
    cluster.bridge("lan", "10.1.0")
    conf = cluster.default() if read else cluster.default(kubeconfig=None)
    cluster.add(conf, cluster.pod(cni_pod, {NETWORKS: "lan"})).require()
    assert sorted(attached(cni_pod)) == (["eth0", "net1"] if read else ["eth0"])


@pytest.mark.parametrize(
    ("given", "namespace", "fits"),
    [
        ("", "shop", True),
        ("", "default", True),
        ("", "infra", False),
        ("infra, net-system", "infra", True),
        ("infra,net-system", "net-system", True),
        ("infra", "default", False),
    ],
)
def test_a_pod_uses_global_namespaces_and_its_own(
    cluster: Cluster, cni_pod: Netns, given: str, namespace: str, fits: bool
) -> None:
    cluster.bridge("lan", "10.1.0", namespace=namespace)
    keys = {"globalNamespaces": given} if given else {}
    conf = cluster.default(namespaceIsolation=True, **keys)
    container = cluster.pod(cni_pod, {NETWORKS: f"{namespace}/lan"}, namespace="shop")
    answer = cluster.add(conf, container)
    if not fits:
        refused(answer, 7, f"{namespace}/lan")
        return
    answer.require()
    assert sorted(attached(cni_pod)) == ["eth0", "net1"]


@pytest.mark.parametrize(
    ("level", "has"), [("error", False), ("verbose", True), ("debug", True), ("panic", False)]
)
def test_the_log_is_a_file_at_the_level_that_is_asked_for(
    cluster: Cluster, cni_pod: Netns, level: str, has: bool
) -> None:
    path = Path(cluster.folder, "multus.log")
    conf, container = cluster.default(logFile=str(path), logLevel=level), cluster.pod(cni_pod)
    cluster.add(conf, container).require()
    text = path.read_text() if path.exists() else ""
    assert (container.id in text) is has


@pytest.mark.parametrize("given", [None, True, False])
def test_the_log_is_on_standard_error_unless_it_is_switched_off(
    cluster: Cluster, cni_pod: Netns, given: bool | None
) -> None:
    conf, container = cluster.default(logToStderr=given, logLevel="debug"), cluster.pod(cni_pod)
    answer = cluster.add(conf, container).require()
    assert (container.id.encode() in answer.stderr) is (given is not False)


def test_the_logs_options_are_taken(cluster: Cluster, cni_pod: Netns) -> None:
    path = Path(cluster.folder, "multus.log")
    # A megabyte and a bit: the next line rotates the file.
    path.write_text("an older line\n" * 80_000)
    options = {"maxSize": 1, "maxAge": 5, "maxBackups": 1, "compress": False}
    conf = cluster.default(logFile=str(path), logLevel="debug", logOptions=options)
    container = cluster.pod(cni_pod)
    cluster.add(conf, container).require()
    assert container.id in path.read_text()
    (old,) = [each for each in path.parent.glob("multus*.log*") if each != path]
    assert old.read_text().startswith("an older line\n")


def test_each_interface_has_its_event(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("lan", "10.1.0")
    cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: "lan"})).require()
    assert cluster.events() == [
        ("Normal", "AddedInterface", "Add eth0 [10.10.0.2/24] from p0"),
        ("Normal", "AddedInterface", "Add net1 [10.1.0.2/24] from default/lan"),
    ]


def test_max_networks_limits_what_an_annotation_chooses(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("lan", "10.1.0")
    two = cluster.pod(cni_pod, {NETWORKS: "lan,lan"})
    refused(cluster.add(cluster.default(maxNetworks=1), two), 7, "2 networks")
    cluster.add(cluster.default(maxNetworks=2), two).require()
    assert sorted(attached(cni_pod)) == ["eth0", "net1", "net2"]


def test_the_default_network_of_a_pod_is_a_name_or_an_element(
    cluster: Cluster, cni_pod: Netns
) -> None:
    cluster.bridge("own", "10.4.0", namespace="kube-system")
    container = cluster.pod(cni_pod, {DEFAULT_NETWORK: "own"})
    cluster.add(cluster.default(), container).require()
    assert attached(cni_pod) == {"eth0": "10.4.0"}
