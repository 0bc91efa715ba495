"""NetworkAttachmentDefinitions: the installed program, real namespaces, real delegates."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE

from integration.blackbox.program import refused
from integration.kube.cluster import DEFAULT_NETWORK, NETWORKS, STATUS, Cluster
from multus.testing.apiserver import Fault
from multus.testing.netns import Netns
from multus.testing.runtime import Container


def names(netns: Netns) -> list[str]:
    return sorted(netns.links())


def defaults(netns: Netns, family: str = "-4") -> list[tuple[str, str]]:
    """The default routes of a pod: device and gateway."""
    found = netns.ip(family, "route", "show", "default") or []
    return [(route["dev"], route.get("gateway", "")) for route in found]


def test_chosen_networks_come_after_the_default(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("net-a", "10.1.0")
    cluster.bridge("net-b", "10.2.0")
    container = cluster.pod(cni_pod, {NETWORKS: "net-a,net-b"})
    conf = cluster.default()
    result = cluster.add(conf, container).result
    assert {name: cni_pod.addresses(name) for name in names(cni_pod)} == {
        "eth0": ["10.10.0.2/24"],
        "net1": ["10.1.0.2/24"],
        "net2": ["10.2.0.2/24"],
    }
    assert [ip["address"] for ip in result["ips"]] == ["10.10.0.2/24"]
    cluster.delete(conf, container, result).require()
    assert names(cni_pod) == []


def test_one_get_for_the_pod_and_one_for_each_definition(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("net-a", "10.1.0")
    cluster.bridge("net-b", "10.2.0")
    container = cluster.pod(cni_pod, {NETWORKS: "net-a,net-b,net-a"})
    cluster.add(cluster.default(), container).require()
    gets = {path: n for (method, path), n in cluster.api.requests.items() if method == "GET"}
    base = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions"
    assert gets == {
        "/api/v1/namespaces/default/pods/web": 1,
        f"{base}/net-a": 1,
        f"{base}/net-b": 1,
    }


def test_del_needs_no_api(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("net-a", "10.1.0")
    container = cluster.pod(cni_pod, {NETWORKS: "net-a"})
    conf = cluster.default(cniVersion="0.4.0")
    result = cluster.add(conf, container).result
    cluster.api.requests.clear()
    cluster.runtime.check(conf, container, result).require()
    cluster.delete(conf, container, result).require()
    cluster.delete(conf, container, result).require()
    assert names(cni_pod) == []
    assert not cluster.api.requests


def test_the_same_network_twice_is_two_attachments(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("net-a", "10.1.0")
    container = cluster.pod(cni_pod, {NETWORKS: "net-a,net-a@again"})
    conf = cluster.default()
    cluster.add(conf, container).require()
    assert cni_pod.addresses("net1") == ["10.1.0.2/24"]
    assert cni_pod.addresses("again") == ["10.1.0.3/24"]
    assert [(s["name"], s["interface"]) for s in cluster.status()] == [
        ("p0", "eth0"),
        ("default/net-a", "net1"),
        ("default/net-a", "again"),
    ]
    cluster.delete(conf, container).require()
    assert names(cni_pod) == []


def test_eight_networks(cluster: Cluster, cni_pod: Netns) -> None:
    for number in range(8):
        cluster.bridge(f"net-{number}", f"10.{number + 1}.0")
    container = cluster.pod(cni_pod, {NETWORKS: ",".join(f"net-{n}" for n in range(8))})
    conf = cluster.default()
    cluster.add(conf, container).require()
    assert names(cni_pod) == ["eth0", *(f"net{n}" for n in range(1, 9))]
    assert cni_pod.addresses("net8") == ["10.8.0.2/24"]
    assert cluster.api.connections <= 5
    cluster.delete(conf, container).require()
    assert names(cni_pod) == []


def test_two_namespaces(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("net-a", "10.1.0", namespace="team")
    cluster.bridge("net-a", "10.2.0", namespace="other", bridge="br-other", name="net-a-other")
    container = cluster.pod(cni_pod, {NETWORKS: "net-a,other/net-a"}, namespace="team")
    cluster.add(cluster.default(), container).require()
    assert cni_pod.addresses("net1") == ["10.1.0.2/24"]
    assert cni_pod.addresses("net2") == ["10.2.0.2/24"]


def test_isolation_keeps_pods_to_their_namespace(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("net-a", "10.1.0", namespace="other")
    container = cluster.pod(cni_pod, {NETWORKS: "other/net-a"})
    conf = cluster.default(namespaceIsolation=True)
    refused(cluster.add(conf, container), 7, "namespace isolation", "'other'", "globalNamespaces")
    assert names(cni_pod) == []
    cluster.add({**conf, "globalNamespaces": "other, kube-system"}, container).require()
    assert names(cni_pod) == ["eth0", "net1"]


# --- Elements' keys ------------------------------------------------------------------------------


def recording(cluster: Cluster, nad: str = "net-a", **keys: Any) -> None:
    """A definition whose plugin records what it gets."""
    cluster.bin.stand_in("recorder")
    cluster.nad(nad, {"cniVersion": "1.0.0", "type": "recorder", **keys})


def conf_of(cluster: Cluster, ifname: str = "net1") -> dict[str, Any]:
    (call,) = [c for c in cluster.bin.calls if c.command == "ADD" and c.ifname == ifname]
    return call.conf


def test_requests_become_runtime_config_of_that_network_only(
    cluster: Cluster, cni_pod: Netns
) -> None:
    capabilities = dict.fromkeys(
        ("ips", "mac", "portMappings", "bandwidth", "infinibandGUID"), True
    )
    recording(cluster, capabilities=capabilities)
    recording(cluster, "net-b", capabilities=capabilities)
    element = {
        "name": "net-a",
        "ips": ["10.1.0.7/24", "2001:db8::7/64"],
        "mac": "02:00:00:00:00:07",
        "infiniband-guid": "24:8a:07:03:00:8d:ae:2f",
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"}],
        "bandwidth": {"ingressRate": 2048, "ingressBurst": 300},
    }
    container = cluster.pod(cni_pod, {NETWORKS: [element, {"name": "net-b"}]})
    runtimes = {"portMappings": [{"hostPort": 1, "containerPort": 1, "protocol": "tcp"}]}
    conf = cluster.default(capabilities={"portMappings": True}, runtimeConfig=runtimes)
    cluster.add(conf, container).require()
    assert conf_of(cluster)["runtimeConfig"] == {
        "ips": ["10.1.0.7/24", "2001:db8::7/64"],
        "mac": "02:00:00:00:00:07",
        "infinibandGUID": "24:8a:07:03:00:8d:ae:2f",
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
        "bandwidth": {"ingressRate": 2048, "ingressBurst": 300},
    }
    assert "runtimeConfig" not in conf_of(cluster, "net2")


def test_cni_args_win_over_the_definitions(cluster: Cluster, cni_pod: Netns) -> None:
    recording(cluster, args={"cni": {"spoofchk": "off", "kept": 1}, "other": 2})
    element = {"name": "net-a", "cni-args": {"spoofchk": "on"}}
    cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: [element]})).require()
    assert conf_of(cluster)["args"] == {"cni": {"spoofchk": "on", "kept": 1}, "other": 2}


def test_every_plugin_of_a_list_gets_the_args(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bin.stand_in("first").stand_in("second")
    cluster.nad(
        "net-a", {"cniVersion": "1.0.0", "plugins": [{"type": "first"}, {"type": "second"}]}
    )
    element = {"name": "net-a", "ipam-claim-reference": "vm.tenantblue"}
    cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: [element]})).require()
    args = [call.conf["args"] for call in cluster.bin.calls if call.command == "ADD"]
    assert args == [{"cni": {"ipam-claim-reference": "vm.tenantblue"}}] * 2


def test_the_name_is_the_definitions_when_its_configuration_has_none(
    cluster: Cluster, cni_pod: Netns
) -> None:
    recording(cluster)
    recording(cluster, "net-b", name="own-name")
    cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: "net-a,net-b"})).require()
    assert conf_of(cluster, "net1")["name"] == "net-a"
    assert conf_of(cluster, "net2")["name"] == "own-name"


def test_the_standards_three_kinds_of_definition(cluster: Cluster, cni_pod: Netns) -> None:
    # NPWG 1.3, section 3.2: a list of plugins, a thick plugin's few keys, a name alone.
    types = ("bridge-like", "port-forwarding", "tuning-like")
    for name in (*types, "awesome-plugin", "implementation-specific"):
        cluster.bin.stand_in(name)
    plugins = [{"type": kind} for kind in types]
    cluster.nad("a-list", {"cniVersion": "0.3.0", "name": "another-name", "plugins": plugins})
    cluster.nad("thick", {"cniVersion": "0.3.0", "type": "awesome-plugin"})
    cluster.nad("by-name", None)
    os.makedirs(f"{cluster.folder}/net.d")
    with open(f"{cluster.folder}/net.d/10-by-name.conf", "w") as file:
        json.dump({"name": "by-name", "type": "implementation-specific"}, file)
    conf = cluster.conf(cniVersion="0.3.0")
    cluster.add(conf, cluster.pod(cni_pod, {NETWORKS: "a-list,thick,by-name"})).require()
    assert [
        (c.name, c.ifname, c.conf["name"]) for c in cluster.bin.calls if c.command == "ADD"
    ] == [
        ("bridge-like", "eth0", "another-name"),
        ("port-forwarding", "eth0", "another-name"),
        ("tuning-like", "eth0", "another-name"),
        ("awesome-plugin", "net1", "thick"),
        ("implementation-specific", "net2", "by-name"),
    ]


@pytest.mark.parametrize(
    ("networks", "words"),
    [
        ("net-a@eth0", ("'eth0'",)),
        ("net-a@x,net-a@x", ("'x'", "another name")),
        ("net-a@net2,net-a", ("'net2'",)),
    ],
)
def test_interface_requests_that_conflict_are_refused(
    cluster: Cluster, cni_pod: Netns, networks: str, words: tuple[str, ...]
) -> None:
    recording(cluster)
    answer = cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: networks}))
    refused(answer, 7, *words)
    assert names(cni_pod) == []


def test_a_configuration_on_disk_by_name(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bin.stand_in("single").stand_in("listed")
    os.makedirs(f"{cluster.folder}/net.d")
    single = {"cniVersion": "1.0.0", "name": "net-a", "type": "single"}
    listed = {"cniVersion": "1.0.0", "name": "net-a", "plugins": [{"type": "listed"}]}
    for path, config in (("10-a.conf", single), ("20-a.conflist", listed)):
        with open(f"{cluster.folder}/net.d/{path}", "w") as file:
            json.dump(config, file)
    cluster.nad("net-a", None)
    cluster.nad("net-b", None)
    conf = cluster.default()
    container = cluster.pod(cni_pod, {NETWORKS: "net-a"})
    cluster.add(conf, container).require()
    assert cluster.bin.commands("ADD") == ["ADD listed net1"]
    cluster.delete(conf, container).require()
    missing = cluster.pod(cni_pod, {NETWORKS: "net-b"}, name="other")
    refused(cluster.add(conf, missing), 7, "default/net-b", "no 'spec.config'", "net.d")


# --- The default network -------------------------------------------------------------------------


def test_the_default_network_is_exchanged(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("special", "10.3.0", namespace="kube-system")
    cluster.bridge("net-a", "10.1.0")
    container = cluster.pod(cni_pod, {DEFAULT_NETWORK: "special", NETWORKS: "net-a"})
    conf = cluster.default()
    result = cluster.add(conf, container).result
    assert cni_pod.addresses("eth0") == ["10.3.0.2/24"]
    assert cni_pod.addresses("net1") == ["10.1.0.2/24"]
    assert [ip["address"] for ip in result["ips"]] == ["10.3.0.2/24"]
    assert [(s["name"], s["default"]) for s in cluster.status()] == [
        ("kube-system/special", True),
        ("default/net-a", False),
    ]


def test_two_default_networks_are_refused(cluster: Cluster, cni_pod: Netns) -> None:
    container = cluster.pod(cni_pod, {DEFAULT_NETWORK: "a,b"})
    refused(cluster.add(cluster.default(), container), 7, "names 2 networks", NETWORKS)


def test_isolation_also_holds_for_the_default_network(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("special", "10.3.0", namespace="secret")
    container = cluster.pod(cni_pod, {DEFAULT_NETWORK: "secret/special"})
    conf = cluster.default(namespaceIsolation=True)
    refused(cluster.add(conf, container), 7, "namespace isolation", "'secret'")


def test_cluster_network_and_default_networks_may_be_definitions(
    cluster: Cluster, cni_pods: Callable[[], Netns]
) -> None:
    cluster.bridge("main", "10.3.0", namespace="kube-system")
    cluster.bridge("more", "10.4.0", namespace="kube-system")
    conf = cluster.conf(clusterNetwork="main", defaultNetworks=["more"])
    first, second = cni_pods(), cni_pods()
    cluster.add(conf, cluster.pod(first)).require()
    assert first.addresses("eth0") == ["10.3.0.2/24"]
    assert first.addresses("net1") == ["10.4.0.2/24"]
    system = cluster.pod(second, name="dns", namespace="kube-system")
    cluster.add(conf, system).require()
    assert names(second) == ["eth0"]


def test_both_kinds_of_annotation_on_one_pod_are_refused(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("net-a", "10.1.0")
    cluster.network("old", "bridge", [{}])
    container = cluster.pod(cni_pod, {NETWORKS: "net-a", "networks": [{"name": "old"}]})
    refused(cluster.add(cluster.default(), container), 7, "'networks'", f"'{NETWORKS}'")


# --- The default route ---------------------------------------------------------------------------


def test_the_default_route_moves_to_the_network_that_asks(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("net-a", "10.1.0")
    cluster.bridge("net-b", "10.2.0", ipam=cluster.ipam("10.2.0", default_route=True))
    element = {"name": "net-a", "default-route": ["10.1.0.254"]}
    container = cluster.pod(cni_pod, {NETWORKS: [element, {"name": "net-b"}]})
    conf = cluster.default(cniVersion="0.4.0")
    result = cluster.add(conf, container).result
    assert defaults(cni_pod) == [("net1", "10.1.0.254")]
    assert "0.0.0.0/0" not in [route["dst"] for route in result.get("routes", [])]
    assert [
        (s["interface"], s.get("default-route"), s.get("gateway")) for s in cluster.status()
    ] == [
        ("eth0", None, None),
        ("net1", ["10.1.0.254"], ["10.1.0.254"]),
        ("net2", None, None),
    ]
    cluster.runtime.check(conf, container, result).require()
    cluster.delete(conf, container, result).require()
    assert names(cni_pod) == []


def test_check_sees_that_the_default_route_is_gone(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("net-a", "10.1.0")
    element = {"name": "net-a", "default-route": ["10.1.0.254"]}
    container = cluster.pod(cni_pod, {NETWORKS: [element]})
    conf = cluster.default(cniVersion="0.4.0")
    result = cluster.add(conf, container).result
    cni_pod.ip("route", "del", "default")
    answer = cluster.runtime.check(conf, container, result)
    assert answer.error["code"] != 0
    assert "multus-default-route" in answer.error["details"]
    assert "net1 has the default routes (none)" in answer.error["details"]


@pytest.mark.parametrize("blocked", ["source-nad", "multus-source-nad", "Multus_Source.NAD"])
def test_del_does_not_need_the_plugin_that_chose_the_route(
    cluster: Cluster, cni_pod: Netns, blocked: str
) -> None:
    cluster.bridge("net-a", "10.1.0")
    element = {"name": "net-a", "default-route": ["10.1.0.254"]}
    container = cluster.pod(cni_pod, {NETWORKS: [element]})
    conf = cluster.default(cniVersion="0.4.0")
    result = cluster.add(conf, container).result
    cluster.delete({**conf, "blockedPlugins": [blocked]}, container, result).require()
    assert names(cni_pod) == []
    assert list(Path(cluster.folder, "ipam").glob("*/10.*")) == []


def test_a_blocked_plugin_that_is_not_installed_is_logged(cluster: Cluster, cni_pod: Netns) -> None:
    container = cluster.pod(cni_pod)
    answer = cluster.add(cluster.default(blockedPlugins=["source-nads"]), container).require()
    assert b"'source-nads', which no installed plugin is called" in answer.stderr


def test_an_empty_default_route_keeps_the_networks_own_gateway(
    cluster: Cluster, cni_pod: Netns
) -> None:
    gateway = {**cluster.ipam("10.1.0"), "gateway": "10.1.0.9"}
    cluster.bridge("net-a", "10.1.0", ipam=gateway)
    container = cluster.pod(cni_pod, {NETWORKS: [{"name": "net-a", "default-route": []}]})
    cluster.add(cluster.default(), container).require()
    assert defaults(cni_pod) == [("net1", "10.1.0.9")]


def test_several_gateways_are_taken_in_their_order(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("net-a", "10.1.0")
    element = {"name": "net-a", "default-route": ["10.1.0.30", "10.1.0.20"]}
    cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: [element]})).require()
    assert defaults(cni_pod) == [("net1", "10.1.0.30"), ("net1", "10.1.0.20")]


def test_the_other_familys_default_route_stays(cluster: Cluster, cni_pod: Netns) -> None:
    ranges = [[{"subnet": "10.10.0.0/24"}], [{"subnet": "fd00:10::/64"}]]
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    ipam = {
        "type": "host-local",
        "ranges": ranges,
        "routes": routes,
        "dataDir": f"{cluster.folder}/ipam",
    }
    cluster.bridge("net-a", "10.1.0")
    conf = cluster.conf(delegates=[{"type": "ptp", "name": "p0", "ipam": ipam}])
    element = {"name": "net-a", "default-route": ["10.1.0.254"]}
    cluster.add(conf, cluster.pod(cni_pod, {NETWORKS: [element]})).require()
    assert defaults(cni_pod) == [("net1", "10.1.0.254")]
    assert [dev for dev, _ in defaults(cni_pod, "-6")] == ["eth0"]


def test_a_gateway_that_is_not_on_the_link_fails_and_undoes(
    cluster: Cluster, cni_pod: Netns
) -> None:
    cluster.bridge("net-a", "10.1.0")
    element = {"name": "net-a", "default-route": ["192.0.2.1"]}
    container = cluster.pod(cni_pod, {NETWORKS: [element]})
    before = cluster.node.state(f"{cluster.folder}/ipam")
    refused(cluster.add(cluster.default(), container), 104, "default/net-a", "192.0.2.1")
    assert names(cni_pod) == []
    left = [
        fact
        for fact in before.difference(cluster.node.state(f"{cluster.folder}/ipam"))
        if "br-net-a" not in fact
    ]
    assert left == []


# --- Fail closed ---------------------------------------------------------------------------------


def test_no_annotation_means_the_default_network(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.add(cluster.default(), cluster.pod(cni_pod)).require()
    assert names(cni_pod) == ["eth0"]


def test_a_definition_that_does_not_exist_fails(cluster: Cluster, cni_pod: Netns) -> None:
    container = cluster.pod(cni_pod, {NETWORKS: "nowhere"})
    answer = cluster.add(cluster.default(), container)
    refused(answer, 11, "default/nowhere", "HTTP 404", "create it, or correct the name")
    assert names(cni_pod) == []
    ((kind, reason, message),) = cluster.events()
    assert (kind, reason) == ("Warning", "NoNetworkFound")
    assert "default/nowhere" in message
    assert STATUS not in cluster.annotations()


@pytest.mark.parametrize("what", ["pods", "network-attachment-definitions"])
def test_what_may_not_be_read_fails(cluster: Cluster, cni_pod: Netns, what: str) -> None:
    cluster.bridge("net-a", "10.1.0")
    container = cluster.pod(cni_pod, {NETWORKS: "net-a"})
    cluster.api.forbidden.add(("get", what))
    refused(cluster.add(cluster.default(), container), 11, "HTTP 403", "RBAC")
    assert names(cni_pod) == []


def test_a_pod_that_does_not_exist_fails(cluster: Cluster, cni_pod: Netns) -> None:
    container = cluster.container(cni_pod, "nobody", "default", "u-1")
    refused(cluster.add(cluster.default(), container), 11, "pod default/nobody", "HTTP 404")
    assert names(cni_pod) == []


def test_a_pod_with_another_uid_fails_unless_it_is_static(cluster: Cluster, cni_pod: Netns) -> None:
    container = cluster.pod(cni_pod, uid="the-predecessors")
    refused(cluster.add(cluster.default(), container), 11, "the-predecessors", "UID")
    mirror = {"kubernetes.io/config.mirror": "hash"}
    static = cluster.pod(cni_pod, mirror, name="etcd", uid="hash")
    cluster.add(cluster.default(), static).require()
    assert cluster.status("etcd")[0]["interface"] == "eth0"


def test_a_bad_day_of_the_api_server_is_lived_through(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("net-a", "10.1.0")
    container = cluster.pod(cni_pod, {NETWORKS: "net-a"})
    for fault in (
        Fault("status", path="*/pods/web", code=429, retry_after="1"),
        Fault("reset", path="*/pods/web"),
        Fault("truncate", path="*/net-a"),
        Fault("status", path="*/net-a", code=503),
        Fault("status", method="PATCH", code=500),
    ):
        cluster.api.faults.add(fault)
    cluster.add(cluster.default(), container).require()
    assert names(cni_pod) == ["eth0", "net1"]
    assert cluster.gets("/pods/web") == cluster.gets("/net-a") == 3
    assert STATUS in cluster.annotations()


def test_a_token_that_was_rotated_is_read_anew(cluster: Cluster, cni_pod: Netns) -> None:
    path = cluster.api.write_kubeconfig(cluster.folder, "token-file")
    container = cluster.pod(cni_pod)
    cluster.api.access.token = "rotated"
    refused(cluster.add(cluster.default(kubeconfig=path), container), 11, "HTTP 401", path)
    cluster.api.write_kubeconfig(cluster.folder, "token-file")
    cluster.add(cluster.default(kubeconfig=path), container).require()


def test_an_api_server_that_is_away_fails(cluster: Cluster, cni_pod: Netns) -> None:
    container = cluster.pod(cni_pod, {NETWORKS: "net-a"})
    cluster.api.__exit__(None, None, None)
    answer = cluster.add(cluster.default(apiTimeout=3), container)
    refused(answer, 11, "pod default/web", "Connection refused")
    assert answer.seconds < PATIENCE
    assert names(cni_pod) == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", ("'spec.config' is not JSON",)),
        ("[]", ("'spec.config' is not a JSON object",)),
        ("{}", ("must have the field 'type'",)),
        ('{"type": "../bad"}', ("'type' is '../bad'",)),
        ('{"plugins": []}', ("'plugins' is empty",)),
        ('{"cniVersion": "9.9.9", "type": "bridge"}', ("9.9.9",)),
    ],
)
def test_a_definition_that_is_wrong_is_named(
    cluster: Cluster, cni_pod: Netns, config: str, words: tuple[str, ...]
) -> None:
    cluster.nad("net-a", config)
    answer = cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: "net-a"}))
    code = 1 if "9.9.9" in config else 7
    refused(answer, code, "network-attachment-definition default/net-a", *words)
    assert names(cni_pod) == []


def test_without_pod_arguments_the_default_network_is_attached(
    cluster: Cluster, cni_pod: Netns
) -> None:
    cluster.add(cluster.default(), Container(cni_pod.path)).require()
    assert names(cni_pod) == ["eth0"]
    assert not cluster.api.requests


def test_a_wrong_key_is_named_before_anything_is_asked(cluster: Cluster, cni_pod: Netns) -> None:
    container = cluster.pod(cni_pod)
    for keys, word in (
        ({"kubeconfig": 5}, "kubeconfig"),
        ({"apiTimeout": 0}, "apiTimeout"),
        ({"namespaceIsolation": "yes"}, "namespaceIsolation"),
        ({"multusNamespace": 5}, "multusNamespace"),
        ({"kubeletDir": "x"}, "kubeletDir"),
    ):
        refused(cluster.add(cluster.default(**keys), container), 7, word)
    assert cluster.gets("") == 0


# --- Paths that a tenant may name ----------------------------------------------------------------


def test_a_tenants_network_ends_where_it_began(cluster: Cluster, cni_pod: Netns) -> None:
    """It is detached in-process as it was attached, though the path is not allowed any more."""
    ptp = {"cniVersion": "1.0.0", "type": "ptp", "ipam": cluster.ipam("10.1.0")}
    cluster.nad("net-a", ptp)
    container = cluster.pod(cni_pod, {NETWORKS: "net-a"})
    conf = cluster.default()
    cluster.add(conf, container).require()
    store = os.path.join(cluster.folder, "ipam", "net-a")
    assert "10.1.0.2" in os.listdir(store)
    os.unlink(os.path.join(cluster.bin.path, "host-local"))
    closed = {**conf, "tenantPaths": {"dataDir": []}}
    cluster.delete(closed, container).require()
    assert "10.1.0.2" not in os.listdir(store)
    refused(cluster.add(closed, container), 106, "'host-local' is not found")
    cluster.delete(closed, container).require()
    assert names(cni_pod) == []


def test_a_tenants_network_elsewhere_is_the_binarys(cluster: Cluster, cni_pod: Netns) -> None:
    ptp = {"cniVersion": "1.0.0", "type": "ptp", "ipam": cluster.ipam("10.1.0")}
    cluster.nad("net-a", ptp)
    container = cluster.pod(cni_pod, {NETWORKS: "net-a"})
    closed = {**cluster.default(), "tenantPaths": {"dataDir": []}}
    cluster.add(closed, container).require()
    assert cni_pod.addresses("net1") == ["10.1.0.2/24"]
    opened = {**closed, "tenantPaths": {"dataDir": [f"{cluster.folder}/ipam"]}}
    cluster.delete(opened, container).require()
    store = os.path.join(cluster.folder, "ipam", "net-a")
    assert "10.1.0.2" not in os.listdir(store)


@pytest.mark.parametrize("kind", ["multus", "multus-shim"])
def test_a_definition_does_not_start_multus(cluster: Cluster, cni_pod: Netns, kind: str) -> None:
    cluster.nad("evil", {"cniVersion": "1.0.0", "type": kind, "binDir": "/tmp"})
    cluster.nad("sly", {"cniVersion": "1.0.0", "type": "ptp", "ipam": {"type": kind}})
    for name in ("evil", "sly"):
        container = cluster.pod(cni_pod, {NETWORKS: name}, name=name)
        answer = cluster.add(cluster.default(), container)
        refused(answer, 7, f"default/{name}", f"type' is '{kind}'", "name the plugin")
        cluster.delete(cluster.default(), container).require()
    assert names(cni_pod) == []
