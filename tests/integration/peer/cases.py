"""Pods and configurations that people have, each with what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from integration.kube.cluster import DEFAULT_NETWORK, Cluster
from integration.peer.seen import Case

MAC = "02:00:00:00:0a:01"


def bridge(**keys: Any) -> Callable[[Cluster], None]:
    """Creates the definition ``net-a`` of a bridge."""
    return lambda cluster: cluster.bridge("net-a", "10.1.0", **keys)


def static(**keys: Any) -> Callable[[Cluster], None]:
    """The same with addresses by the plugin ``static``."""
    return bridge(ipam={"type": "static", **keys})


def two(cluster: Cluster, namespace: str = "default") -> None:
    cluster.bridge("net-a", "10.1.0", namespace=namespace)
    cluster.bridge("net-b", "10.2.0", namespace=namespace)


def two_of_the_system(cluster: Cluster) -> None:
    two(cluster, "kube-system")


def chain(*more: dict[str, Any], **keys: Any) -> Callable[[Cluster], None]:
    """Creates the definition ``net-a`` of a bridge and more plugins."""

    def build(cluster: Cluster) -> None:
        first = {"type": "bridge", "bridge": "br-a", "ipam": cluster.ipam("10.1.0"), **keys}
        cluster.nad("net-a", {"cniVersion": "1.0.0", "name": "net-a", "plugins": [first, *more]})

    return build


def on_disk(name: str, **keys: Any) -> Callable[[Cluster], None]:
    """Writes a configuration into the node's folder; the definition has none."""

    def build(cluster: Cluster) -> None:
        folder = Path(cluster.folder, "net.d")
        folder.mkdir()
        config = {"cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": "br-a", **keys}
        config["ipam"] = cluster.ipam("10.1.0")
        (folder / "10-a.conf").write_text(json.dumps(config))
        cluster.nad("net-a", None)

    return build


def element(**keys: Any) -> list[dict[str, Any]]:
    return [{"name": "net-a", **keys}]


CASES = (
    Case("no annotation", None),
    Case("an empty annotation", ""),
    Case("an empty list", "[]"),
    Case("short form", "net-a", bridge()),
    Case("short form with namespace and interface", "default/net-a@data", bridge()),
    Case("short form with spaces", " net-a , net-b ", two),
    Case("short form with spaces around every part", "default / net-a @ data", bridge()),
    Case("short form with a comma at the end", "net-a,", bridge()),
    Case("a network twice", "net-a,net-a", bridge()),
    Case("list with spaces before it", '  [{"name": "net-a"}]', bridge()),
    Case("mac, no capability", element(mac=MAC), bridge()),
    Case("mac, capability", element(mac=MAC), bridge(capabilities={"mac": True})),
    Case("mac with dashes", element(mac=MAC.replace(":", "-")), bridge()),
    Case("mac with dots", element(mac="0200.0000.0a01"), bridge()),
    Case("mac in capitals", element(mac=MAC.upper()), bridge()),
    Case("empty mac", element(mac=""), bridge()),
    Case("mac of KubeVirt", element(mac=MAC, interface="pod16477688c0e"), bridge()),
    Case("ips, host-local, no capability", element(ips=["10.1.0.9"]), bridge()),
    Case("ips with a prefix, host-local, no capability", element(ips=["10.1.0.9/24"]), bridge()),
    Case("ips, static, no capability", element(ips=["10.1.0.9/24"]), static()),
    Case("two ips, static, no capability", element(ips=["10.1.0.9/24", "fd00::9/64"]), static()),
    Case(
        "ips, static, capability",
        element(ips=["10.1.0.9/24"]),
        bridge(ipam={"type": "static"}, capabilities={"ips": True}),
    ),
    Case(
        "ips without a prefix, static, capability",
        element(ips=["10.1.0.9"]),
        bridge(ipam={"type": "static"}, capabilities={"ips": True}),
    ),
    Case("empty ips", element(ips=[]), bridge()),
    Case("ips null", element(ips=None), bridge()),
    Case("mac and ips", element(mac=MAC, ips=["10.1.0.9/24"]), static()),
    Case(
        "ports, no capability",
        element(portMappings=[{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]),
        bridge(),
    ),
    Case(
        "ports without protocol, portmap",
        element(portMappings=[{"hostPort": 8080, "containerPort": 80}]),
        chain({"type": "portmap", "capabilities": {"portMappings": True}}),
    ),
    Case(
        "ports with an empty protocol, portmap",
        element(portMappings=[{"hostPort": 8080, "containerPort": 80, "protocol": ""}]),
        chain({"type": "portmap", "capabilities": {"portMappings": True}}),
    ),
    Case(
        "ports in capitals, portmap",
        element(portMappings=[{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"}]),
        chain({"type": "portmap", "capabilities": {"portMappings": True}}),
    ),
    Case("empty ports", element(portMappings=[]), bridge()),
    Case(
        "bandwidth, no capability",
        element(bandwidth={"ingressRate": 1000000, "ingressBurst": 100000}),
        bridge(),
    ),
    Case(
        "bandwidth of zeros",
        element(bandwidth={"ingressRate": 0, "ingressBurst": 0, "egressRate": 0, "egressBurst": 0}),
        bridge(),
    ),
    Case(
        "infiniband-guid, no capability",
        element(**{"infiniband-guid": "c2:11:22:33:44:55:66:77"}),
        bridge(),
    ),
    Case("empty infiniband-guid", element(**{"infiniband-guid": ""}), bridge()),
    Case("cni-args", element(**{"cni-args": {"ips": ["10.1.0.9/24"]}}), static()),
    Case("cni-args null", element(**{"cni-args": None}), bridge()),
    Case("interfaceRequest in other case", [{"Name": "net-a", "Interface": "data"}], bridge()),
    Case("keys in capitals", [{"NAME": "net-a", "MAC": MAC}], bridge()),
    Case("an unknown key", element(gateway=["10.1.0.1"]), bridge()),
    Case("default-route", element(**{"default-route": ["10.1.0.1"]}), bridge(isGateway=True)),
    Case("empty default-route", element(**{"default-route": []}), bridge(isGateway=True)),
    Case("deviceID", element(deviceID="0000:00:00.0"), bridge()),
    Case("configuration on disk", "net-a", on_disk("net-a")),
    Case("configuration on disk of another name", "net-a", on_disk("other")),
    Case("namespace empty", element(namespace=""), bridge()),
    Case("interface empty", element(interface=""), bridge()),
    Case("interface with a dot", element(interface="eth1.100"), bridge()),
    Case("a definition with a name of its own", "net-a", bridge(name="another")),
    Case(
        "ipam-claim-reference with ips",
        element(**{"ipam-claim-reference": "claim", "ips": ["10.1.0.9/24"]}),
        static(),
    ),
    Case("ipam-claim-reference", element(**{"ipam-claim-reference": "claim"}), bridge()),
    Case(
        "default-network",
        None,
        bridge(namespace="kube-system"),
        annotations={DEFAULT_NETWORK: "net-a"},
    ),
    Case(
        "default-network with mac and ips",
        None,
        bridge(namespace="kube-system", ipam={"type": "static"}),
        annotations={
            DEFAULT_NETWORK: [
                {
                    "name": "net-a",
                    "namespace": "kube-system",
                    "mac": MAC,
                    "ips": ["10.1.0.9/24"],
                    "ipam-claim-reference": "claim",
                }
            ]
        },
    ),
    Case("no definition of that name", "missing"),
    Case("wrong JSON", '[{"name": '),
    Case("no name", [{"interface": "net1"}]),
    Case("two namespaces", "a/b/c"),
    Case("two interfaces", "a@b@c"),
    Case("interface too long", "net-a@interface-of-20-long", bridge()),
    Case("isolation", "other/net-a", bridge(namespace="other"), conf={"namespaceIsolation": True}),
    Case(
        "isolation, a global namespace",
        "other/net-a",
        bridge(namespace="other"),
        conf={"namespaceIsolation": True, "globalNamespaces": "other, another"},
    ),
    Case("isolation, the own namespace", "net-a", bridge(), conf={"namespaceIsolation": True}),
    Case(
        "kubeConfig in other case",
        "net-a",
        bridge(),
        conf=lambda cluster: {"kubeconfig": None, "kubeConfig": cluster.kubeconfig},
    ),
    Case(
        "keys of the configuration in other case",
        "net-a",
        bridge(),
        conf={"LogLevel": "error", "NamespaceIsolation": True},
    ),
    Case("logLevel of another name", None, conf={"logLevel": "info"}),
    Case("an unknown key of the configuration", None, conf={"somethingElse": 1}),
    Case(
        "clusterNetwork of a definition",
        None,
        bridge(namespace="kube-system"),
        conf={"delegates": None, "clusterNetwork": "net-a"},
    ),
    Case(
        "clusterNetwork and delegates",
        None,
        bridge(namespace="kube-system"),
        conf={"clusterNetwork": "net-a"},
    ),
    Case(
        "defaultNetworks",
        None,
        two_of_the_system,
        conf={"delegates": None, "clusterNetwork": "net-a", "defaultNetworks": ["net-b"]},
    ),
    Case(
        "defaultNetworks in a system namespace",
        None,
        two_of_the_system,
        conf={"delegates": None, "clusterNetwork": "net-a", "defaultNetworks": ["net-b"]},
        namespace="kube-system",
    ),
    Case(
        "multusNamespace",
        None,
        bridge(namespace="infra"),
        conf={"delegates": None, "clusterNetwork": "net-a", "multusNamespace": "infra"},
    ),
)
