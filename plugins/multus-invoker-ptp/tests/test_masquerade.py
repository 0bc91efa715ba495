from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from multus_invoker_ptp.invoker import Ptp

from multus.netlink import Namespace, masquerade
from multus.netlink.masquerade import Owner
from multus.testing.invocation import Caller
from multus.testing.iptables import using
from multus.testing.netns import Netns

if TYPE_CHECKING:
    from conftest import Host

V4 = [{"subnet": "10.90.0.0/24"}]
V6 = [{"subnet": "fd90::/64"}]
BACKENDS = ("iptables", "nftables")


def rules(host: Host) -> list[str]:
    """The owner's rules, without the table that stays."""
    lines = host.node.run("nft", "--stateless", "list", "ruleset").splitlines()
    return [line.strip() for line in lines if "saddr" in line]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def config_of(host: Host, backend: str, *sets: Any, **more: Any) -> dict[str, Any]:
    return host.config(*(sets or (V4, V6)), ipMasq=True, ipMasqBackend=backend, **more)


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_what_leaves_the_network_has_the_hosts_address(
    host: Host, caller: Caller, pod: Netns, backend: str, family: str
) -> None:
    outside = Netns.create("ptpout")
    try:
        host.node.ip("link", "set", "wire", "netns", outside.name)
        here, there = ("192.0.2.1", "192.0.2.2") if family == "IPv4" else ("fd99::1", "fd99::2")
        bits = 24 if family == "IPv4" else 64
        host.node.ip("address", "add", f"{here}/{bits}", "dev", "uplink", "nodad")
        outside.ip("address", "add", f"{there}/{bits}", "dev", "wire", "nodad")
        outside.ip("link", "set", "wire", "up")
        host.add(caller, config_of(host, backend, V4 if family == "IPv4" else V6))
        assert who_calls(outside, there, pod) == here
    finally:
        outside.remove()


def who_calls(server: Netns, address: str, client: Netns) -> str:
    """The source address that the server sees when the client sends it a datagram."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with Namespace(server.path) as there, Namespace(client.path) as here:
        with (
            there.socket(family, socket.SOCK_DGRAM) as listening,
            here.socket(family, socket.SOCK_DGRAM) as calling,
        ):
            listening.bind((address, 0))
            listening.settimeout(3)
            calling.sendto(b"?", (address, listening.getsockname()[1]))
            return str(listening.recvfrom(10)[1][0])


def test_rules_come_and_go(host: Host, caller: Caller, backend: str) -> None:
    config = config_of(host, backend)
    host.add(caller, config)
    assert len(rules(host)) == 2  # one a family
    host.delete(caller, config)
    assert rules(host) == []
    assert [fact for fact in host.left() if "cni_plugins" not in fact] == []


def test_del_finds_the_rules_with_any_configured_backend(
    host: Host, caller: Caller, backend: str
) -> None:
    host.add(caller, config_of(host, backend))
    other = BACKENDS[1 - BACKENDS.index(backend)]
    host.delete(caller, config_of(host, other))
    assert rules(host) == []


def test_one_network_twice_in_a_container_keeps_the_others_rules(
    host: Host, caller: Caller, backend: str
) -> None:
    config, second = config_of(host, backend, V4), evolve(caller, ifname="net1")
    config["ipam"]["routes"] = []
    host.add(caller, config)
    before = rules(host)
    # The second interface in the same network wants the same route: a table of its own.
    third = config_of(host, backend, [{"subnet": "10.92.0.0/24"}])
    third["ipam"]["routes"] = []
    host.add(second, third)
    assert len(rules(host)) == 2
    host.delete(second, third)
    assert rules(host) == before
    host.delete(caller, config)
    assert rules(host) == []


def test_deleting_the_first_keeps_the_second(host: Host, caller: Caller, backend: str) -> None:
    config, second = config_of(host, backend, V4), evolve(caller, ifname="net1")
    other = config_of(host, backend, [{"subnet": "10.92.0.0/24"}])
    other["ipam"]["routes"] = []
    host.add(caller, config)
    host.add(second, other)
    host.delete(caller, config)
    (left,) = rules(host)
    assert "10.92.0.2" in left
    host.delete(caller, config)
    assert rules(host) == [left]
    host.delete(second, other)
    assert rules(host) == []


def test_rules_of_other_containers_and_networks_stay(
    host: Host, caller: Caller, backend: str
) -> None:
    kept = [Owner("ptpnet", "other", "eth0"), Owner("othernet", "container1", "eth0")]
    with host.inside.entered():
        for number, owner in enumerate(kept):
            masquerade.add(owner, [f"10.93.{number}.2/24"], backend)
    before = rules(host)
    config = config_of(host, backend)
    host.add(caller, config)
    host.delete(caller, config)
    assert rules(host) == before


def test_gc_takes_the_rules_of_attachments_that_are_gone(
    host: Host, caller: Caller, backend: str
) -> None:
    gone = [Owner("ptpnet", "gone1", "eth0"), Owner("ptpnet", "gone2", "eth0")]
    kept = Owner("othernet", "gone1", "eth0")
    with host.inside.entered():
        for number, owner in enumerate([*gone, kept]):
            masquerade.add(owner, [f"10.93.{number}.2/24"], backend)
    config = config_of(host, backend)
    host.add(caller, config)
    with host.inside.entered():
        Ptp().gc(caller.invocation("GC", config, valid=[caller]))
    assert {re.findall(r"saddr (\S+)", rule)[0] for rule in rules(host)} == {
        "10.90.0.2",
        "fd90::2",
        "10.93.2.2",
    }


def test_a_flushed_table_is_restored(host: Host, caller: Caller) -> None:
    config = config_of(host, "nftables")
    host.add(caller, config)
    host.node.run("nft", "flush", "table", "inet", "cni_plugins_masquerade")
    other = config_of(host, "nftables", [{"subnet": "10.92.0.0/24"}], name="other")
    other["ipam"]["routes"] = []
    host.add(evolve(caller, ifname="net1"), other)
    assert "goto masq_checks" in host.node.run("nft", "list", "ruleset")


def test_iptables_of_the_older_interface_are_taken_down_too(host: Host, caller: Caller) -> None:
    config = config_of(host, "iptables")
    with using("legacy"):
        host.add(caller, config)
        saved = host.node.run("iptables-legacy-save", "-t", "nat")
        assert "-s 10.90.0.2/32" in saved
        host.delete(caller, config)
    assert "CNI-" not in host.node.run("iptables-legacy-save", "-t", "nat")
    assert "CNI-" not in host.node.run("ip6tables-legacy-save", "-t", "nat")
