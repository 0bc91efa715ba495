"""ADD, DEL, CHECK and STATUS on the objects of an API server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from integration.whereabouts.cluster import Node
from multus.api.errors import (
    AddressesExhausted,
    CheckFailed,
    CNIError,
    InvalidConfig,
    NotAvailable,
)
from multus.api.result import IP, Result
from multus.testing.apiserver import Fault


def test_each_pod_gets_the_lowest_free_address_and_gives_it_back(node: Node) -> None:
    assert node.addresses("a") == ["10.7.0.1/24"]
    assert node.addresses("b") == ["10.7.0.2/24"]
    node.delete("a")
    node.delete("a")
    assert node.addresses("c") == ["10.7.0.1/24"]
    assert node.allocations() == {"1": "default/c net1", "2": "default/b net1"}
    assert node.stored("overlappingrangeipreservations").keys() == {"10.7.0.1", "10.7.0.2"}
    node.delete("b")
    node.delete("c")
    assert node.allocations() == {}
    assert node.stored("overlappingrangeipreservations") == {}


def test_a_repeated_add_and_a_new_sandbox_get_the_same_address(node: Node) -> None:
    first = node.addresses("a", container="old")
    assert node.addresses("a", container="old") == first
    assert node.addresses("a", container="new") == first
    # The DEL of the old sandbox comes late.
    node.delete("a", container="old", prev=Result(ips=(IP(first[0]),)))
    assert node.allocations() == {"1": "default/a net1"}
    assert node.stored("overlappingrangeipreservations").keys() == {"10.7.0.1"}
    node.delete("a", container="new")
    assert node.allocations() == {}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"range_start": "10.7.0.9"}, ["10.7.0.9/24"]),
        ({"range_start": "10.9.0.9"}, ["10.7.0.1/24"]),
        ({"range": "10.7.0.20-10.7.0.30/24"}, ["10.7.0.20/24"]),
        ({"range": "10.7.0.5/24"}, ["10.7.0.1/24"]),
        ({"range": "010.007.000.000/24"}, ["10.7.0.1/24"]),
        ({"exclude": ["10.7.0.0/29", "10.7.0.8"]}, ["10.7.0.9/24"]),
        ({"range": "fd00:7::/64"}, ["fd00:7::1/64"]),
        ({"ipRanges": [{"range": "fd00:7::/112", "exclude": ["fd00:7::1"]}]},
         ["10.7.0.1/24", "fd00:7::2/112"]),
    ],
)  # fmt: skip
def test_ranges(node: Node, keys: dict[str, Any], expected: list[str]) -> None:
    assert node.addresses("a", **keys) == expected
    node.delete("a", **keys)
    assert all(node.allocations(name) == {} for name in node.stored("ippools"))


def test_names_of_pools_are_the_binarys(node: Node) -> None:
    for keys in (
        {},
        {"range": "fd00:7::/64"},
        {"network_name": "blue"},
        {"network_name": "blue", "range": "fd00::/112"},
    ):
        node.add("a", **keys)
    assert node.stored("ippools").keys() == {
        *("10.7.0.0-24", "fd00-7---64", "blue-10.7.0.0-24", "blue-fd00---112"),
    }
    found = node.stored("overlappingrangeipreservations")
    assert found.keys() == {"10.7.0.1", "fd00-7--1", "blue-10.7.0.1", "blue-fd00--1"}


def test_the_result_has_gateway_routes_dns_and_fixed_addresses(node: Node) -> None:
    result = node.add(
        "a",
        gateway="10.7.0.254",
        routes=[{"dst": "10.9.0.0/16", "gw": "10.7.0.254"}],
        dns={"nameservers": ["192.0.2.53"]},
        addresses=[{"address": "192.0.2.9/24", "gateway": "192.0.2.1"}],
    )
    assert result.ips == (
        IP("10.7.0.1/24", "10.7.0.254"),
        IP("192.0.2.9/24", "192.0.2.1"),
    )
    assert [route.dst for route in result.routes] == ["10.9.0.0/16"]
    assert result.dns.nameservers == ("192.0.2.53",)


def test_an_address_that_another_range_has_is_passed_over(node: Node) -> None:
    node.add("a", range="10.7.0.0/16")
    assert node.addresses("b") == ["10.7.0.2/24"]
    assert node.allocations() == {"2": "default/b net1"}
    assert node.addresses("c", enable_overlapping_ranges=False) == ["10.7.0.1/24"]
    assert node.addresses("d", network_name="own") == ["10.7.0.1/24"]


def test_a_requested_address_is_given_or_the_holder_named(node: Node) -> None:
    asked = {"capabilities": {"ips": True}, "runtime": {"ips": ["10.7.0.77/24"]}}
    assert node.addresses("a", **asked) == ["10.7.0.77/24"]
    with pytest.raises(AddressesExhausted, match=r"10\.7\.0\.0/24.* in use by default/a"):
        node.add("b", **asked)
    with pytest.raises(InvalidConfig, match=r"'10\.8\.0\.1' is in none of the ranges 10\.7\.0\.0"):
        node.add("b", runtime={"ips": ["10.8.0.1"]})
    assert node.allocations() == {"77": "default/a net1"}


def test_a_full_range_says_how_full_it_is_and_who_fills_it(node: Node) -> None:
    for name in ("a", "b"):
        node.add(name, range="10.7.0.0/30")
    with pytest.raises(AddressesExhausted) as caught:
        node.add("c", range="10.7.0.0/30")
    assert "range 10.7.0.0/30: no address is free: 2 of 2 are in use" in caught.value.reason
    assert "namespace default (2)" in caught.value.reason


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"exclude": ["10.7.0.0/24"]}, "leaves no address of range 10.7.0.0/24"),
        ({"exclude": ["ten"]}, "'ten', neither a network nor an address"),
        ({"range": "10.7.0.0/31"}, "no address beside its first and last"),
        ({"range": "10.7"}, "not a network in CIDR form"),
        ({"range": ""}, "is missing"),
        ({"range": "10.8.0.1-10.7.0.9/24"}, "whose start is not in 10.7.0.0/24"),
        ({"ipRanges": [{"range": "10.7.0.0/16"}]}, "10.7.0.0/16 overlaps with range 10.7.0.0/24"),
        ({"gateway": "x"}, "'x', not an IP address"),
        ({"args": ""}, "there is no pod"),
    ],
)
def test_what_cannot_be_is_refused(node: Node, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        node.add("a", **keys)
    assert said in str(caught.value)
    node.delete("a", **keys)
    assert node.stored("ippools") == {}


def test_check_compares_with_the_pool(node: Node) -> None:
    result = node.add("a")
    node.pool("CHECK", "a", prev=result).check()
    with pytest.raises(CheckFailed, match=r"10\.7\.0\.1 is not allocated"):
        node.pool("CHECK", "a", prev=result, container="other").check()


def test_status_says_when_the_kind_is_not_served(node: Node) -> None:
    node.pool("STATUS").status()
    assert node.stored("ippools") == {}
    fault = Fault("status", path="*/ippools/*", times=0, code=404, reason="NotFound")
    node.api.faults.add(fault)
    with pytest.raises(NotAvailable, match="CustomResourceDefinition"):
        node.pool("STATUS").status()


def test_a_pod_that_comes_again_gets_the_address_that_it_had(node: Node) -> None:
    assert node.addresses("web-0", sticky=True) == ["10.7.0.1/24"]
    assert node.addresses("web-1", sticky=True) == ["10.7.0.2/24"]
    node.delete("web-0", sticky=True)
    assert node.addresses("other") == ["10.7.0.3/24"]
    assert node.addresses("web-0", container="again", sticky=True) == ["10.7.0.1/24"]
    assert node.addresses("web-0", ifname="net2", sticky=True) == ["10.7.0.4/24"]


def test_what_a_pod_had_is_given_to_others_before_the_range_is_full(node: Node) -> None:
    small = {"range": "10.7.0.0/30", "sticky": True}
    for name in ("web-0", "web-1"):
        node.add(name, **small)
    node.delete("web-0", **small)
    assert node.addresses("other", **small) == ["10.7.0.1/30"]
    node.delete("web-1", **small)
    assert node.addresses("web-0", container="again", **small) == ["10.7.0.2/30"]


def test_two_ranges_are_all_or_nothing(node: Node) -> None:
    full = [{"range": "fd00:7::/126"}]
    for name in ("a", "b"):
        node.add(name, ipRanges=full)
    with pytest.raises(CNIError, match="no address is free"):
        node.add("c", ipRanges=full)
    assert node.allocations() == {"1": "default/a net1", "2": "default/b net1"}
    assert "10.7.0.3" not in node.stored("overlappingrangeipreservations")


def test_a_del_finds_what_the_add_found_in_files_of_the_node(node: Node, tmp_path: Path) -> None:
    flat, kubeconfig = tmp_path / "flat.conf", tmp_path / "named"
    context = {"name": "c", "context": {"namespace": "kube-system"}}
    kubeconfig.write_text(json.dumps({"current-context": "c", "contexts": [context]}))
    kubernetes = {"kubeconfig": str(kubeconfig)}
    flat.write_text(json.dumps({"network_name": "blue", "kubernetes": kubernetes}))
    keys = {"configuration_path": str(flat)}
    result = node.add("a", **keys)
    assert node.allocations("blue-10.7.0.0-24") == {"1": "default/a net1"}
    context["context"] = {"namespace": "elsewhere"}
    kubeconfig.write_text(json.dumps({"current-context": "c", "contexts": [context]}))
    for broken in ("{", json.dumps({"network_name": "red", "kubernetes": kubernetes})):
        flat.write_text(broken)
        node.pool("CHECK", "a", prev=result, **keys).check()
    flat.unlink()
    node.delete("a", prev=result, **keys)
    assert node.allocations("blue-10.7.0.0-24") == {}
    assert node.stored("overlappingrangeipreservations") == {}
    assert [path for path in Path(node.cni_dir).rglob("*") if path.is_file()] == []


def test_what_was_written_for_a_del_and_is_damaged_is_read_from_the_files_again(
    node: Node, tmp_path: Path
) -> None:
    flat = tmp_path / "flat.conf"
    flat.write_text(json.dumps({"network_name": "blue"}))
    keys = {"configuration_path": str(flat)}
    for damage in ("", "[]", '{"ipam": 1, "namespace": "x"}'):
        node.add("a", **keys)
        (kept,) = Path(node.cni_dir, ".whereabouts").iterdir()
        kept.write_text(damage)
        node.delete("a", **keys)
        assert node.allocations("blue-10.7.0.0-24") == {}


def test_a_configuration_without_files_is_written_nowhere(node: Node) -> None:
    node.add("a")
    assert not Path(node.cni_dir, ".whereabouts").exists()


@pytest.mark.parametrize(
    ("wide", "narrow", "expected", "network"),
    [
        ("10.7.0.0/24", "10.7.0.0/26", "10.7.0.31/26", ""),
        ("fd00:7::/64", "fd00:7::/112", "fd00:7::1f/112", "blue"),
    ],
)
def test_addresses_that_another_range_has_are_not_tried_one_by_one(
    node: Node, wide: str, narrow: str, expected: str, network: str
) -> None:
    for number in range(30):
        node.add(f"p{number}", range=wide, network_name=network)
    # Of another network: it says nothing about this one.
    node.add("other", range=narrow, network_name="red")
    before = node.requests("POST", "PATCH")
    assert node.addresses("late", range=narrow, network_name=network) == [expected]
    assert node.requests("POST", "PATCH") - before <= 6
    for name in ("late", "p3"):
        node.delete(name, range=narrow if name == "late" else wide, network_name=network)
    assert len(node.stored("overlappingrangeipreservations")) == 30


def test_without_the_right_to_list_reservations_they_are_tried_one_by_one(node: Node) -> None:
    for number in range(4):
        node.add(f"p{number}")
    node.api.forbidden.add(("list", "overlappingrangeipreservations"))
    assert node.addresses("late", range="10.7.0.0/26") == ["10.7.0.5/26"]
