"""Real delegates in real namespaces: everything is attached, and after DEL nothing is left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from integration.blackbox.program import Multus, refused
from multus.testing.netns import Netns
from multus.testing.runtime import Container

#: Says hello to a listener at the other end, with what the standard library has.
LISTEN = """
import socket, sys
server = socket.create_server((sys.argv[1], 7000))
print("ready", flush=True)
server.settimeout(60)
print(server.accept()[0].recv(100).decode(), flush=True)
"""
SAY = """
import socket, sys
socket.create_connection((sys.argv[1], 7000), timeout=60).send(b"hello")
"""


def said_over(sender: Netns, receiver: Netns, ifname: str) -> str:
    """What arrives when *sender* says hello to the receiver's address on *ifname*."""
    address = receiver.addresses(ifname)[0].split("/")[0]
    listen = receiver.command([sys.executable, "-I", "-c", LISTEN, address])
    with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "ready\n"
        sender.run(sys.executable, "-I", "-c", SAY, address)
        return listener.stdout.readline().strip()


def host_local(multus: Multus, number: int) -> dict[str, Any]:
    ranges = {"subnet": f"10.{number}.0.0/24", "rangeStart": f"10.{number}.0.10"}
    return {"type": "host-local", "dataDir": multus.ipam_dir, **ranges}


def static(number: int) -> dict[str, Any]:
    return {"type": "static", "addresses": [{"address": f"10.{number}.0.77/24"}]}


def ptp(multus: Multus, number: int) -> dict[str, Any]:
    return {"type": "ptp", "name": f"ptp{number}", "ipam": host_local(multus, number)}


def bridge(multus: Multus, number: int) -> dict[str, Any]:
    # Made beforehand: the plugin leaves its bridge behind, by design.
    multus.node.bridge(f"br{number}", f"10.{number}.0.1/24")
    conf = {"type": "bridge", "name": f"br{number}", "bridge": f"br{number}", "isGateway": True}
    return {**conf, "ipam": host_local(multus, number)}


def macvlan(multus: Multus, number: int) -> dict[str, Any]:
    conf = {"type": "macvlan", "name": f"mv{number}", "master": "uplink", "mode": "bridge"}
    return {**conf, "ipam": static(number)}


KINDS: dict[str, Callable[[Multus, int], dict[str, Any]]] = {
    "ptp": ptp,
    "bridge": bridge,
    "macvlan": macvlan,
}


@pytest.fixture(params=["binaries", "in-process"])
def real(multus: Multus, request: pytest.FixtureRequest) -> Multus:
    """With the system's binaries alone, and with what of them is also served in-process."""
    multus.bin.real()
    if request.param == "binaries":
        return evolve(multus, keys={"invokers": dict.fromkeys(KINDS, "exec")})
    return multus


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("kind", [*KINDS, "mixed"])
def test_add_attaches_all_and_del_leaves_nothing(
    real: Multus, cni_pod: Netns, kind: str, count: int
) -> None:
    makers = list(KINDS.values()) if kind == "mixed" else [KINDS[kind]]
    delegates = [makers[i % len(makers)](real, i + 1) for i in range(count)]
    conf = real.conf(*delegates)
    container = Container(cni_pod.path)
    before = real.node.state(real.ipam_dir, real.cni_dir)

    result = real.add(conf, container).result
    names = ["eth0", *(f"net{i}" for i in range(count - 1))]
    assert sorted(cni_pod.links()) == sorted(names)
    for number, name in enumerate(names, start=1):
        (address,) = cni_pod.addresses(name)
        assert address.startswith(f"10.{number}.0.")
        assert cni_pod.links()[name].up
    inside = [link for link in result["interfaces"] if link.get("sandbox")]
    assert [link["name"] for link in inside] == ["eth0"]
    assert inside[0]["mac"] == cni_pod.links()["eth0"].mac
    assert before.difference(real.node.state(real.ipam_dir, real.cni_dir)) != []

    real.delete(conf, container, result).require()
    assert cni_pod.links() == {}
    assert before.difference(real.node.state(real.ipam_dir, real.cni_dir)) == []
    assert real.records() == []


def test_a_list_of_bridge_portmap_and_tuning(real: Multus, cni_pods: Callable[[], Netns]) -> None:
    chain = {
        "name": "chained",
        "plugins": [
            bridge(real, 1),
            {"type": "portmap", "capabilities": {"portMappings": True}},
            {"type": "tuning", "mtu": 1400, "sysctl": {"net.core.somaxconn": "500"}},
        ],
    }
    ports = [{"hostPort": 18080, "containerPort": 8080, "protocol": "tcp"}]
    conf = real.conf(chain, ptp(real, 2), runtimeConfig={"portMappings": ports})

    def round_trip() -> None:
        pod = cni_pods()
        container = Container(pod.path)
        result = real.add(conf, container).result
        assert sorted(pod.links()) == ["eth0", "net0"]
        assert pod.links()["eth0"].mtu == 1400
        assert pod.run("sysctl", "-n", "net.core.somaxconn").strip() == "500"
        rules = real.node.run("iptables-save", "-t", "nat")
        assert "18080" in rules and "8080" in rules
        real.delete(conf, container, result).require()
        assert pod.links() == {}

    # portmap makes its chains for good at the first call: what counts is the second.
    round_trip()
    before = real.node.state(real.ipam_dir, real.cni_dir)
    round_trip()
    assert before.difference(real.node.state(real.ipam_dir, real.cni_dir)) == []
    assert "18080" not in real.node.run("iptables-save", "-t", "nat")


def test_masquerading_leaves_no_rule(real: Multus, cni_pod: Netns) -> None:
    conf = real.conf({**ptp(real, 1), "ipMasq": True}, {**ptp(real, 2), "ipMasq": True})
    container = Container(cni_pod.path)
    before = real.node.state(real.ipam_dir)
    result = real.add(conf, container).result
    # iptables makes its tables at the first rule; the chains of the container have to go.
    assert "10.2.0." in real.node.run("iptables-save", "-t", "nat")
    real.delete(conf, container, result).require()
    left = before.difference(real.node.state(real.ipam_dir))
    assert [fact for fact in left if "CNI" in fact or "10." in fact] == []


def test_the_networks_carry_traffic(real: Multus, cni_pods: Callable[[], Netns]) -> None:
    conf = real.conf(bridge(real, 1), ptp(real, 2))
    pods = [cni_pods(), cni_pods()]
    containers = [Container(pod.path) for pod in pods]
    for container in containers:
        real.add(conf, container).require()
    for ifname in ("eth0", "net0"):
        assert said_over(pods[0], pods[1], ifname) == "hello"
    for container in containers:
        real.delete(conf, container).require()


def test_one_that_fails_undoes_the_others(real: Multus, cni_pod: Netns) -> None:
    conf = real.conf(ptp(real, 1), bridge(real, 2), {**ptp(real, 3), "mtu": 10})
    before = real.node.state(real.ipam_dir, real.cni_dir)
    answer = real.add(conf, Container(cni_pod.path))
    refused(answer, answer.error["code"], "ptp3", "net1")
    assert cni_pod.links() == {}
    assert before.difference(real.node.state(real.ipam_dir, real.cni_dir)) == []
    assert real.records() == []


def test_what_cannot_be_undone_yet_is_said_and_removed_later(real: Multus, cni_pod: Netns) -> None:
    # The binary macvlan wants its master to be there even for DEL.
    late = {**macvlan(real, 2), "master": "late-card", "invoker": "exec"}
    conf = real.conf(ptp(real, 1), late)
    before = real.node.state(real.ipam_dir, real.cni_dir)
    container = Container(cni_pod.path)
    answer = real.add(conf, container)
    error = refused(answer, answer.error["code"], "macvlan", "net0")
    assert "could not be undone" in error["details"]
    assert cni_pod.links() == {}
    assert len(real.records()) == 1
    real.node.ip("link", "add", "late-card", "type", "veth", "peer", "name", "late-wire")
    real.delete(conf, container).require()
    real.node.ip("link", "del", "late-card")
    assert before.difference(real.node.state(real.ipam_dir, real.cni_dir)) == []
    assert real.records() == []


def test_an_exhausted_range_undoes_the_others(real: Multus, cni_pods: Callable[[], Netns]) -> None:
    narrow = {**ptp(real, 2)}
    narrow["ipam"] = {**narrow["ipam"], "rangeStart": "10.2.0.10", "rangeEnd": "10.2.0.10"}
    conf = real.conf(ptp(real, 1), narrow)
    first = Container(cni_pods().path)
    real.add(conf, first).require()
    before = real.node.state(real.ipam_dir, real.cni_dir)
    answer = real.add(conf, Container(cni_pods().path))
    refused(answer, answer.error["code"], "net0")
    assert before.difference(real.node.state(real.ipam_dir, real.cni_dir)) == []
    real.delete(conf, first).require()


@pytest.mark.parametrize("netns", ["kept", "empty"])
def test_del_after_the_namespace_is_gone_frees_the_addresses(
    real: Multus, cni_pod: Netns, netns: str
) -> None:
    conf = real.conf(ptp(real, 1), bridge(real, 2), macvlan(real, 3))
    before = real.node.state(real.ipam_dir, real.cni_dir)
    container = Container(cni_pod.path)
    result = real.add(conf, container).result
    cni_pod.remove()
    gone = Container(cni_pod.path if netns == "kept" else "", id=container.id)
    for _ in range(2):
        real.delete(conf, gone, result).require()
    assert before.difference(real.node.state(real.ipam_dir, real.cni_dir)) == []


def test_an_interface_that_is_already_there_fails_the_add(real: Multus, cni_pod: Netns) -> None:
    conf = real.conf(ptp(real, 1), ptp(real, 2))
    cni_pod.ip("link", "add", "net0", "type", "veth", "peer", "name", "theirs")
    before = real.node.state(real.ipam_dir, real.cni_dir)
    answer = real.add(conf, Container(cni_pod.path))
    refused(answer, answer.error["code"], "net0")
    assert "eth0" not in cni_pod.links()
    assert before.difference(real.node.state(real.ipam_dir, real.cni_dir)) == []


def test_many_containers_do_not_mix(real: Multus, cni_pods: Callable[[], Netns]) -> None:
    conf = real.conf(ptp(real, 1), ptp(real, 2))
    before = real.node.state(real.ipam_dir, real.cni_dir)
    pods = [cni_pods() for _ in range(4)]
    containers = [Container(pod.path) for pod in pods]
    for container in containers:
        real.add(conf, container).require()
    assert len({pod.addresses("net0")[0] for pod in pods}) == 4
    for container, pod in zip(containers[:2], pods, strict=False):
        real.delete(conf, container).require()
        assert pod.links() == {}
    assert all(sorted(pod.links()) == ["eth0", "net0"] for pod in pods[2:])
    for container in containers:
        real.delete(conf, container).require()
    assert before.difference(real.node.state(real.ipam_dir, real.cni_dir)) == []
