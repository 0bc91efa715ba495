"""Requests of an element, for networks that declare no capability: real delegates, real outcomes.

The Go Multus appends ``MAC`` and ``IP`` to the delegate's ``CNI_ARGS``, and starts the pod whatever
comes of it.  Here the pod starts too, and what it lacks is an event and a line in the log.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from integration.blackbox.program import refused
from integration.kube.cluster import DEFAULT_NETWORK, DEPLOY, NETWORKS, Cluster
from multus.testing.delegates import Call, Reply, interface_result
from multus.testing.netns import Netns

MAC = "02:00:00:00:00:07"
UNSERVED = "NetworkRequestUnserved"


def static(**keys: Any) -> dict[str, Any]:
    return {"type": "static", **keys}


def macvlan(cluster: Cluster, ipam: dict[str, Any], **keys: Any) -> None:
    """The definition ``net-a`` of a macvlan on the node's link, without capabilities."""
    config = {"cniVersion": "1.0.0", "type": "macvlan", "master": "uplink", "ipam": ipam}
    cluster.nad("net-a", {**config, **keys})


def recorder(cluster: Cluster, **keys: Any) -> None:
    """The definition ``net-a`` of a plugin that records what it gets."""
    cluster.bin.stand_in("recorder")
    cluster.nad("net-a", {"cniVersion": "1.0.0", "type": "recorder", **keys})


def args_of(call: Call) -> dict[str, str]:
    pairs = (each.split("=", 1) for each in call.environ["CNI_ARGS"].split(";"))
    return {key: value for key, value in pairs if key in ("MAC", "IP", "IgnoreUnknown")}


def unserved(cluster: Cluster) -> list[str]:
    """The messages of the events that say what a pod lacks."""
    return [
        text for kind, reason, text in cluster.events() if (kind, reason) == ("Warning", UNSERVED)
    ]


# --- Served without a capability ------------------------------------------------------------------


def test_bridge_takes_a_mac(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("net-a", "10.1.0")
    container = cluster.pod(cni_pod, {NETWORKS: [{"name": "net-a", "mac": MAC}]})
    cluster.add(cluster.default(), container).require()
    assert cni_pod.links()["net1"].mac == MAC
    assert unserved(cluster) == []


def test_macvlan_and_static_take_a_mac_and_addresses(cluster: Cluster, cni_pod: Netns) -> None:
    macvlan(cluster, static())
    asked = ["10.1.0.7/24", "2001:db8::7/64"]
    element = {"name": "net-a", "mac": MAC, "ips": asked}
    container = cluster.pod(cni_pod, {NETWORKS: [element]})
    cluster.add(cluster.default(), container).require()
    assert cni_pod.links()["net1"].mac == MAC
    assert set(asked) <= set(cni_pod.addresses("net1"))
    assert unserved(cluster) == []


@pytest.mark.parametrize("asked", ["10.1.0.7", "10.1.0.7/24"])
@pytest.mark.parametrize("kind", ["bridge", "ptp"])
def test_host_local_takes_an_address(
    cluster: Cluster, cni_pod: Netns, kind: str, asked: str
) -> None:
    """In the binary, started by bridge, and in-process, for ptp."""
    cluster.nad("net-a", {"cniVersion": "1.0.0", "type": kind, "ipam": cluster.ipam("10.1.0")})
    container = cluster.pod(cni_pod, {NETWORKS: [{"name": "net-a", "ips": [asked]}]})
    conf = cluster.default()
    result = cluster.add(conf, container).result
    assert cni_pod.addresses("net1") == ["10.1.0.7/24"]
    assert unserved(cluster) == []
    cluster.runtime.check(conf, container, result).require()
    cluster.delete(conf, container, result).require()
    assert cni_pod.links().keys() == set()


def test_two_addresses_with_the_capability_reach_host_local(
    cluster: Cluster, cni_pod: Netns
) -> None:
    """host-local refuses an ``IP`` of two addresses, so it gets them in runtimeConfig alone."""
    ranges = [[{"subnet": "10.1.0.0/24"}], [{"subnet": "2001:db8::/64"}]]
    ipam = {"type": "host-local", "ranges": ranges, "dataDir": f"{cluster.folder}/ipam"}
    bridge = {"type": "bridge", "bridge": "br-a", "capabilities": {"ips": True}, "ipam": ipam}
    cluster.nad("net-a", {"cniVersion": "1.0.0", **bridge})
    asked = ["10.1.0.7/24", "2001:db8::7/64"]
    container = cluster.pod(cni_pod, {NETWORKS: [{"name": "net-a", "ips": asked}]})
    cluster.add(cluster.default(), container).require()
    assert set(asked) <= set(cni_pod.addresses("net1"))


def test_the_network_of_the_default_annotation_needs_no_capability(
    cluster: Cluster, cni_pod: Netns
) -> None:
    """The form that OVN-Kubernetes documents for its primary networks."""
    cluster.bridge("primary", "10.1.0", namespace="kube-system")
    element = {
        "name": "primary",
        "namespace": "kube-system",
        "mac": MAC,
        "ips": ["10.1.0.7/24"],
        "ipam-claim-reference": "vm-1.claim",
    }
    container = cluster.pod(cni_pod, {DEFAULT_NETWORK: [element]})
    conf = cluster.default(multusNamespace="kube-system")
    cluster.add(conf, container).require()
    assert cni_pod.addresses("eth0") == ["10.1.0.7/24"]
    assert cni_pod.links()["eth0"].mac == MAC
    assert unserved(cluster) == []


# --- What plugins get -----------------------------------------------------------------------------


def test_every_plugin_of_that_network_alone_gets_the_args(cluster: Cluster, cni_pod: Netns) -> None:
    for kind in ("first", "second", "other"):
        cluster.bin.stand_in(kind, ADD=Reply.json({"cniVersion": "1.0.0"}))
    chain = [{"type": "first"}, {"type": "second"}]
    cluster.nad("net-a", {"cniVersion": "1.0.0", "plugins": chain})
    cluster.nad("net-b", {"cniVersion": "1.0.0", "type": "other"})
    element = {"name": "net-a", "mac": MAC, "ips": ["10.1.0.7/24", "10.1.0.8"]}
    container = cluster.pod(cni_pod, {NETWORKS: [element, {"name": "net-b"}]})
    conf = cluster.default()
    result = cluster.add(conf, container).result
    cluster.runtime.check(conf, container, result).require()
    cluster.delete(conf, container, result).require()
    own = {"IgnoreUnknown": "1", "MAC": MAC, "IP": "10.1.0.7/24,10.1.0.8"}
    found = {(call.command, call.name): args_of(call) for call in cluster.bin.calls}
    assert found == {
        (verb, kind): {"IgnoreUnknown": "1"} if kind == "other" else own
        for verb in ("ADD", "CHECK", "DEL")
        for kind in ("first", "second", "other")
    }


def test_a_declared_capability_gets_runtime_config_and_the_args(
    cluster: Cluster, cni_pod: Netns
) -> None:
    recorder(cluster, capabilities={"mac": True})
    container = cluster.pod(cni_pod, {NETWORKS: [{"name": "net-a", "mac": MAC}]})
    cluster.add(cluster.default(), container).require()
    (call,) = [each for each in cluster.bin.calls if each.command == "ADD"]
    assert call.conf["runtimeConfig"] == {"mac": MAC}
    assert args_of(call)["MAC"] == MAC


def test_a_runtime_that_does_not_ask_to_ignore_unknown_args(
    cluster: Cluster, cni_pod: Netns
) -> None:
    """bridge knows MAC alone, host-local knows IP alone: both would refuse the pod's name."""
    from attrs import evolve

    cluster.bridge("net-a", "10.1.0")
    container = cluster.pod(cni_pod, {NETWORKS: [{"name": "net-a", "mac": MAC}]})
    container = evolve(container, args=container.args.replace("IgnoreUnknown=1;", ""))
    cluster.add(cluster.default(), container).require()
    assert cni_pod.links()["net1"].mac == MAC


@pytest.mark.parametrize(("kind", "code"), [("bridge", 101), ("ptp", 7)])
def test_a_delegate_that_refuses_the_args_is_removed(
    cluster: Cluster, cni_pod: Netns, kind: str, code: int
) -> None:
    """host-local refuses two addresses in ``IP``, at DEL too: DEL goes without them."""
    cluster.nad("net-a", {"cniVersion": "1.0.0", "type": kind, "ipam": cluster.ipam("10.1.0")})
    element = {"name": "net-a", "ips": ["10.1.0.7", "10.1.0.8"]}
    container = cluster.pod(cni_pod, {NETWORKS: [element]})
    conf = cluster.default(invokers={"bridge": "exec"})
    error = refused(cluster.add(conf, container), code, "default/net-a", "10.1.0.7,10.1.0.8")
    assert "could not be undone" not in error.get("details", "")
    cluster.delete(conf, container).require()
    assert cni_pod.links().keys() == set()


# --- Not served -----------------------------------------------------------------------------------


REQUESTS = [
    ("ips", ["10.1.0.7/24"], "ips"),
    ("mac", MAC, "mac"),
    ("portMappings", [{"hostPort": 1, "containerPort": 1}], "portMappings"),
    ("bandwidth", {"ingressRate": 1}, "bandwidth"),
    ("infiniband-guid", "24:8a:07:03:00:8d:ae:2f", "infinibandGUID"),
]


@pytest.mark.parametrize(("key", "value", "capability"), REQUESTS)
def test_a_request_that_nothing_serves_is_an_event(
    cluster: Cluster, cni_pod: Netns, key: str, value: Any, capability: str
) -> None:
    recorder(cluster)
    container = cluster.pod(cni_pod, {NETWORKS: [{"name": "net-a", key: value}]})
    answer = cluster.add(cluster.default(), container)
    answer.require()
    (message,) = unserved(cluster)
    assert message.startswith(f"network 'default/net-a', interface net1: '{capability}' ")
    lines = [json.loads(line) for line in answer.stderr.splitlines()]
    assert message in [line["msg"] for line in lines if line["level"] == "error"]


@pytest.mark.parametrize(("key", "value", "capability"), REQUESTS)
def test_it_is_refused_and_undone_where_that_is_configured(
    cluster: Cluster, cni_pod: Netns, key: str, value: Any, capability: str
) -> None:
    recorder(cluster)
    container = cluster.pod(cni_pod, {NETWORKS: [{"name": "net-a", key: value}]})
    conf = cluster.default(unservedRequests="refuse")
    refused(cluster.add(conf, container), 7, "default/net-a", f"'{capability}'")
    assert cni_pod.links().keys() == set()
    added = [each for each in cluster.bin.calls if each.command == "ADD"]
    removed = [each for each in cluster.bin.calls if each.command == "DEL"]
    assert len(added) == len(removed) == (1 if key in ("ips", "mac") else 0)


def test_what_is_served_is_not_refused(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("net-a", "10.1.0")
    element = {"name": "net-a", "mac": MAC, "ips": ["10.1.0.7"]}
    container = cluster.pod(cni_pod, {NETWORKS: [element]})
    cluster.add(cluster.default(unservedRequests="refuse"), container).require()
    assert cni_pod.addresses("net1") == ["10.1.0.7/24"]


def test_another_mac_and_address_than_requested_are_named(cluster: Cluster, cni_pod: Netns) -> None:
    """ptp takes no MAC, neither the binary nor in-process."""
    cluster.nad("net-a", {"cniVersion": "1.0.0", "type": "ptp", "ipam": cluster.ipam("10.1.0")})
    container = cluster.pod(cni_pod, {NETWORKS: [{"name": "net-a", "mac": MAC}]})
    cluster.add(cluster.default(), container).require()
    (message,) = unserved(cluster)
    has = cni_pod.links()["net1"].mac
    assert f"'mac' is {MAC}, and the interface has {has}: use plugins" in message
    assert message.replace(has, "…") in (DEPLOY.parent / "docs" / "networks-nad.md").read_text()


def test_results_without_interfaces_are_compared_with_the_kernel(
    cluster: Cluster, cni_pod: Netns
) -> None:
    """A result of CNI 0.2.0 cannot tell a MAC."""
    cluster.bridge("net-a", "10.1.0", cniVersion="0.2.0")
    element = {"name": "net-a", "mac": MAC, "ips": ["10.1.0.7"]}
    container = cluster.pod(cni_pod, {NETWORKS: [element]})
    cluster.add(cluster.default(unservedRequests="refuse"), container).require()
    assert cni_pod.links()["net1"].mac == MAC


# --- As KubeVirt and OVN-Kubernetes write them ----------------------------------------------------


def test_every_interface_of_a_virtual_machine_has_its_mac(cluster: Cluster, cni_pod: Netns) -> None:
    """KubeVirt's form: a MAC in every element, for a bridge without IPAM, and for a chain."""
    cluster.nad("vlan-a", {"cniVersion": "0.3.1", "type": "bridge", "bridge": "br-a"})
    chain = [{"type": "bridge", "bridge": "br-b"}, {"type": "tuning"}]
    cluster.nad("vlan-b", {"cniVersion": "0.3.1", "name": "vlan-b", "plugins": chain})
    elements = [
        {
            "name": f"vlan-{letter}",
            "namespace": "default",
            "mac": f"02:00:00:00:00:0{number}",
            "interface": f"pod{number:011x}",
        }
        for number, letter in enumerate("ab", 1)
    ]
    container = cluster.pod(cni_pod, {NETWORKS: elements})
    cluster.add(cluster.default(), container).require()
    macs = {name: link.mac for name, link in cni_pod.links().items()}
    assert [macs[each["interface"]] for each in elements] == [each["mac"] for each in elements]
    assert unserved(cluster) == []


def test_a_binding_of_a_virtual_machine_gets_its_args(cluster: Cluster, cni_pod: Netns) -> None:
    """KubeVirt's second kind of element: for a plugin that makes no interface of its own."""
    binding = "binding-of-a-vm"
    cluster.bin.stand_in(binding, ADD=Reply.json({"cniVersion": "1.0.0"}))
    cluster.nad("binding", {"cniVersion": "1.0.0", "type": binding})
    element = {
        "name": "binding",
        "namespace": "default",
        "cni-args": {"logicNetworkName": "red"},
    }
    container = cluster.pod(cni_pod, {NETWORKS: [element]})
    cluster.add(cluster.default(), container).require()
    (call,) = [each for each in cluster.bin.calls if each.command == "ADD"]
    assert call.conf["args"] == {"cni": {"logicNetworkName": "red"}}
    assert unserved(cluster) == []


def test_a_primary_network_of_users_keeps_its_addresses(cluster: Cluster, cni_pod: Netns) -> None:
    """OVN-Kubernetes' form: the default network has a second interface, with what was requested."""
    asked = ["10.3.0.5/24", "2001:db8:3::5/64"]
    links = [
        {"name": "eth0", "mac": "0a:58:0a:0a:00:02", "sandbox": "@NETNS@"},
        {"name": "ovn-udn1", "mac": MAC, "sandbox": "@NETNS@"},
    ]
    ips = [
        {"address": "10.10.0.2/24", "interface": 0},
        *({"address": each, "interface": 1} for each in asked),
    ]
    result = {"cniVersion": "0.4.0", "interfaces": links, "ips": ips, "dns": {}}
    cluster.bin.stand_in("ovn-k8s-cni-overlay", ADD=Reply.json(result))
    config = {"cniVersion": "0.4.0", "name": "ovn-kubernetes", "type": "ovn-k8s-cni-overlay"}
    cluster.nad("default", config, namespace="ovn-kubernetes")
    element = {
        "namespace": "ovn-kubernetes",
        "name": "default",
        "ips": asked,
        "mac": MAC,
        "ipam-claim-reference": "vm-1.tenantblue",
    }
    container = cluster.pod(cni_pod, {DEFAULT_NETWORK: [element]})
    cluster.add(cluster.default(unservedRequests="refuse"), container).require()
    assert unserved(cluster) == []


def test_a_plugin_that_reads_the_pods_annotation_itself(cluster: Cluster, cni_pod: Netns) -> None:
    """OVN-Kubernetes' form: nothing declared, and the result has what was requested."""
    asked = interface_result(["10.1.0.7/24", "2001:db8::7/64"], mac=MAC)
    cluster.bin.stand_in("ovn-k8s-cni-overlay", ADD=Reply.json(asked))
    config = {
        "cniVersion": "0.3.1",
        "name": "tenantblue",
        "type": "ovn-k8s-cni-overlay",
        "topology": "layer2",
        "subnets": "10.1.0.0/16,2001:db8::/64",
        "netAttachDefName": "default/net-a",
    }
    cluster.nad("net-a", config)
    element = {
        "name": "net-a",
        "mac": MAC.upper(),
        "ips": ["10.1.0.7/24", "2001:DB8:0::7/64"],
        "ipam-claim-reference": "vm-1.tenantblue",
    }
    container = cluster.pod(cni_pod, {NETWORKS: [element]})
    cluster.add(cluster.default(unservedRequests="refuse"), container).require()
    (call,) = [each for each in cluster.bin.calls if each.command == "ADD"]
    assert call.conf["args"] == {"cni": {"ipam-claim-reference": "vm-1.tenantblue"}}
