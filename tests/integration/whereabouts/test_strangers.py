"""What somebody else wrote: in a pool it fails no call, in a configuration it is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from multus_ipam_whereabouts import listing, pool
from multus_ipam_whereabouts.ranges import Range
from work import calls

from integration.whereabouts.cluster import Node
from multus.api.errors import AddressesExhausted, InvalidConfig
from multus.api.reader import Reader

GIVEN: dict[str, Any] = {
    "range": "10.7.0.0/24",
    "spans": [[1, 254]],
    "id": "c",
    "podref": "default/web",
    "ifname": "net1",
    "wanted": [],
    "avoid": [],
    "sticky": True,
    "claim": False,
    "reserve": None,
    "fence": True,
}
ODD: list[Any] = [
    {},
    {"spec": None},
    {"spec": []},
    {"spec": {"allocations": None}},
    {"spec": {"allocations": {"-1": {}, "x": {}, "٣": {}, "2": None, "9" * 5000: {"id": 5}}}},
    {"metadata": {"annotations": {pool.REMEMBERED: "{"}}},
    {"metadata": {"annotations": {pool.REMEMBERED: "[" * 100_000}}},
    {"metadata": {"annotations": {pool.REMEMBERED: '{"default/web net1": -7}'}}},
    {"metadata": {"annotations": {pool.REMEMBERED: '{"default/web net1": 9999}'}}},
]


@pytest.mark.parametrize("wire", ODD, ids=lambda each: str(each)[:60])
def test_an_address_of_the_range_is_allocated_and_given_back(wire: Any) -> None:
    assert pool.allocate(wire, GIVEN).answer == 1
    assert pool.release(wire, GIVEN).answer == {}


def test_an_allocation_without_a_holder_keeps_its_address() -> None:
    wire = {"spec": {"allocations": {"7": "somebody"}}}
    with pytest.raises(AddressesExhausted, match="in use by another range"):
        pool.allocate(wire, {**GIVEN, "wanted": [7]})


def test_what_is_remembered_fits_into_an_annotation() -> None:
    memory = {f"{'n' * 60}/{'p' * 200}{each} net1": each for each in range(2000)}
    wire = {"metadata": {"annotations": {pool.REMEMBERED: json.dumps(memory)}}}
    change = pool.allocate(wire, GIVEN)
    assert change.patch is not None
    text = change.patch["metadata"]["annotations"][pool.REMEMBERED]
    assert len(text) < 256 << 10
    assert json.loads(text)["default/web net1"] == change.answer


def test_keys_outside_of_the_range_are_no_allocations() -> None:
    odd = {"70000": {"id": "x"}, "4294967295": {}, "9" * 39: {}, "9" * 5000: {}}
    wire = {
        "metadata": {"name": "10.7.0.0-24", "namespace": "kube-system"},
        "spec": {"range": "10.7.0.0/24", "allocations": {"1": {"podref": "default/a"}, **odd}},
    }
    assert [each.address for each in listing._range(wire, {}).allocations] == ["10.7.0.1"]
    assert listing._range({"metadata": {}, "spec": None}, {}).allocations == ()


def test_an_interface_gets_no_address_of_another_one_of_its_pod(node: Node) -> None:
    assert node.addresses("a") == ["10.7.0.1/24"]
    assert node.addresses("a", ifname="net2", range="10.7.0.0/25") == ["10.7.0.2/25"]
    node.delete("a", ifname="net2", range="10.7.0.0/25")
    assert node.addresses("b", range="10.7.0.0/25") == ["10.7.0.2/25"]


@pytest.mark.parametrize(
    "keys",
    [
        {"configuration_path": "/etc/cni/net.d/whereabouts.d/\0"},
        {"kubernetes": {"kubeconfig": "/etc/cni/net.d/whereabouts.d/\ud800"}},
        {"network_name": "Bad Name"},
        {"network_name": "n" * 300},
    ],
    ids=lambda keys: str(keys)[:40],
)
def test_what_no_file_and_no_object_can_be_called_is_refused(node: Node, keys: Any) -> None:
    with pytest.raises(InvalidConfig):
        node.add("a", **keys)
    node.delete("a", **keys)
    assert node.stored("ippools") == {}


def test_the_work_of_excludes_grows_with_their_number() -> None:
    def work(number: int) -> int:
        exclude = [f"fd00::{each:x}:{each:x}/128" for each in range(1, number + 1)]
        reader = Reader({"range": "fd00::/8", "exclude": exclude}, "a test")
        return calls(lambda: Range.read(reader, reader, ()))

    work(1)  # imports
    assert work(256) < 10 * work(64)
