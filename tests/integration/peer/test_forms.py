"""Every form of the selection annotation that the Go Multus acts on attaches the same networks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from integration.blackbox.program import refused
from integration.kube.cluster import NETWORKS, Cluster
from multus.testing.netns import Netns


def attached(cluster: Cluster, netns: Netns, annotation: str) -> dict[str, list[str]]:
    """The addresses of each interface of a pod with this annotation, beside eth0's."""
    cluster.bridge("a", "10.1.0", capabilities={"mac": True, "ips": True})
    cluster.bridge("b", "10.2.0", namespace="other")
    container = cluster.pod(netns, {NETWORKS: annotation})
    cluster.add(cluster.default(), container).require()
    return {name: netns.addresses(name) for name in netns.links() if name != "eth0"}


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("a,other/b", {"net1": ["10.1.0.2/24"], "net2": ["10.2.0.2/24"]}),
        (" a ,\n other / b @ ib0 ", {"net1": ["10.1.0.2/24"], "ib0": ["10.2.0.2/24"]}),
        ("/a@", {"net1": ["10.1.0.2/24"]}),
        ('[{"name": "a"}]', {"net1": ["10.1.0.2/24"]}),
        (
            '[{"NAME": "b", "Namespace": "other", "INTERFACE": "x7"}]',
            {"x7": ["10.2.0.2/24"]},
        ),
        ('[{"name": "b", "Name": "a", "name": null}]', {"net1": ["10.1.0.2/24"]}),
        ('[{"name": "a", "interfaceRequest": "x7"}]', {"x7": ["10.1.0.2/24"]}),
        ('[{"name": "a", "interface": "", "interfaceRequest": ""}]', {"net1": ["10.1.0.2/24"]}),
        ("[]", {}),
        ("", {}),
    ],
)
def test_both_forms_with_spaces_letter_cases_and_older_keys(
    cluster: Cluster, cni_pod: Netns, annotation: str, expected: dict[str, list[str]]
) -> None:
    assert attached(cluster, cni_pod, annotation) == expected


@pytest.mark.parametrize(
    "keys",
    [
        {"gateway": ["10.1.0.1"], "ipRequest": "1.2.3.4", "macRequest": "aa:bb:cc:dd:ee:ff"},
        {"ips": [], "mac": "", "infiniband-guid": "", "portMappings": [], "bandwidth": {}},
        {"ips": None, "mac": None, "portMappings": None, "bandwidth": None, "cni-args": None},
        {"interface": None, "namespace": None, "default-route": None, "deviceID": ""},
    ],
)
def test_keys_that_are_unknown_empty_or_null_request_nothing(
    cluster: Cluster, cni_pod: Netns, keys: dict[str, Any]
) -> None:
    annotation = json.dumps([{"name": "a", **keys}])
    assert attached(cluster, cni_pod, annotation) == {"net1": ["10.1.0.2/24"]}


@pytest.mark.parametrize(
    "keys",
    [
        {"mac": "02:00:5e:10:00:01"},
        {"mac": "02-00-5E-10-00-01"},
        {"mac": "0200.5e10.0001"},
        {"MAC": "02:00:5e:10:00:01", "IPs": ["10.1.0.9/24"]},
    ],
)
def test_every_form_of_a_mac_reaches_the_interface(
    cluster: Cluster, cni_pod: Netns, keys: dict[str, Any]
) -> None:
    found = attached(cluster, cni_pod, json.dumps([{"name": "a", **keys}]))
    assert cni_pod.links()["net1"].mac == "02:00:5e:10:00:01"
    assert found == {"net1": ["10.1.0.9/24" if "IPs" in keys else "10.1.0.2/24"]}


CAPABLE = {"portMappings": True, "bandwidth": True}


@pytest.mark.parametrize(
    ("keys", "given"),
    [
        (
            {"portMappings": [{"HostPort": 8080, "containerPort": 80, "protocol": ""}]},
            {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
        ),
        (
            {"portMappings": [{"hostPort": 8080, "containerPort": 80, "note": 1, "hostIP": ""}]},
            {
                "portMappings": [
                    {"hostPort": 8080, "containerPort": 80, "note": 1, "hostIP": ""}
                    | {"protocol": "tcp"}
                ]
            },
        ),
        (
            {"Bandwidth": {"ingressRate": 0, "INGRESSBURST": 0, "egressRate": 0}},
            {"bandwidth": {"ingressRate": 0, "ingressBurst": 0, "egressRate": 0}},
        ),
    ],
)
def test_ports_and_rates_are_given_to_the_plugin_that_decides_about_them(
    cluster: Cluster, cni_pod: Netns, keys: dict[str, Any], given: dict[str, Any]
) -> None:
    cluster.bin.stand_in("ports")
    cluster.nad("p", {"cniVersion": "1.0.0", "type": "ports", "capabilities": CAPABLE})
    container = cluster.pod(cni_pod, {NETWORKS: [{"name": "p", **keys}]})
    cluster.add(cluster.default(), container).require()
    (call,) = [each for each in cluster.bin.calls if each.command == "ADD"]
    assert call.conf["runtimeConfig"] == given


def test_one_network_has_the_route_of_ipv4_and_another_that_of_ipv6(
    cluster: Cluster, cni_pod: Netns
) -> None:
    ranges = [[{"subnet": "10.2.0.0/24"}], [{"subnet": "fd02::/64"}]]
    both = {"type": "host-local", "ranges": ranges, "dataDir": f"{cluster.folder}/ipam"}
    cluster.bridge("a", "10.1.0")
    cluster.bridge("b", "10.2.0", ipam=both)
    elements = [
        {"name": "a", "default-route": ["10.1.0.1"]},
        {"name": "b", "default-route": ["fd02::1"]},
        {"name": "b", "default-route": []},
    ]
    cluster.add(cluster.default(), cluster.pod(cni_pod, {NETWORKS: elements})).require()
    found = {
        family: [(r["dev"], r["gateway"]) for r in cni_pod.ip(family, "route", "show", "default")]
        for family in ("-4", "-6")
    }
    assert found == {"-4": [("net1", "10.1.0.1")], "-6": [("net2", "fd02::1")]}


@pytest.mark.parametrize("version", ["0.2.0", "0.3.1", "0.4.0", "1.0.0"])
def test_the_default_route_moves_whatever_version_the_plugins_answer_in(
    cluster: Cluster, cni_pod: Netns, version: str
) -> None:
    cluster.bridge("a", "10.1.0", cniVersion=version)
    conf = cluster.default(cniVersion=version)
    element = {"name": "a", "default-route": ["10.1.0.1"]}
    container = cluster.pod(cni_pod, {NETWORKS: [element]})
    result = cluster.add(conf, container).result
    routes = cni_pod.ip("-4", "route", "show", "default")
    assert [(route["dev"], route["gateway"]) for route in routes] == [("net1", "10.1.0.1")]
    cluster.delete(conf, container, result).require()
    assert cni_pod.links() == {}


def test_two_default_routes_of_one_family_are_refused(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("a", "10.1.0")
    cluster.bridge("b", "10.2.0")
    names = (("a", "10.1.0.1"), ("b", "10.2.0.1"))
    both = [{"name": name, "default-route": [gateway]} for name, gateway in names]
    container = cluster.pod(cni_pod, {NETWORKS: both})
    refused(cluster.add(cluster.default(), container), 7, "both name a gateway of IPv4")
    assert cni_pod.links() == {}
