"""IPAMClaims: their addresses survive the pod, and move with the next one."""

from __future__ import annotations

from typing import Any

import pytest

from integration.whereabouts.cluster import Node
from multus.api.errors import AddressesExhausted, InvalidConfig
from multus.api.kubernetes import NotFound
from multus.testing.apiserver import Fault


def claim(node: Node, name: str = "vm", network: str = "net1", **status: Any) -> dict[str, Any]:
    made = {
        "apiVersion": "k8s.cni.cncf.io/v1alpha1",
        "kind": "IPAMClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"network": network, "interface": "net1"},
        **({"status": status} if status else {}),
    }
    return node.api.create(made)


def test_its_addresses_survive_the_pod_and_move_with_the_next(node: Node) -> None:
    made = claim(node)
    assert node.addresses("vm-1", claim="vm") == ["10.7.0.1/24"]
    status = node.api.get(made)["status"]
    assert (status["ips"], status["ownerPod"]) == (["10.7.0.1/24"], {"name": "vm-1"})
    (condition,) = status["conditions"]
    assert (condition["type"], condition["status"]) == ("IPsAllocated", "True")
    assert node.addresses("other") == ["10.7.0.2/24"]
    # While a machine moves, both pods have the address.
    assert node.addresses("vm-2", claim="vm") == ["10.7.0.1/24"]
    node.delete("vm-1", claim="vm")
    assert node.api.get(made)["status"]["ownerPod"] == {"name": "vm-2"}
    node.delete("vm-2", claim="vm")
    after = node.api.get(made)["status"]
    assert "ownerPod" not in after and after["ips"] == ["10.7.0.1/24"]
    assert sorted(node.allocations()) == ["1", "2"]
    assert "10.7.0.1" in node.stored("overlappingrangeipreservations")
    result = node.add("vm-3", claim="vm")
    assert [ip.address for ip in result.ips] == ["10.7.0.1/24"]
    node.pool("CHECK", "vm-3", claim="vm", prev=result).check()


def test_addresses_that_it_has_already_are_used(node: Node) -> None:
    claim(node, ips=["10.7.0.77/24"])
    assert node.addresses("vm-1", claim="vm") == ["10.7.0.77/24"]


def test_addresses_that_another_pod_has_are_refused(node: Node) -> None:
    node.add("web")
    claim(node, ips=["10.7.0.1/24"])
    with pytest.raises(AddressesExhausted, match="in use by default/web"):
        node.add("vm-1", claim="vm")


@pytest.mark.parametrize(
    ("name", "network", "error", "said"),
    [
        ("gone", "net1", NotFound, "IPAMClaim default/gone"),
        ("vm", "other", InvalidConfig, "for network 'other', not for 'net1'"),
        ("a/b", "net1", InvalidConfig, "'a/b', which no object can have"),
    ],
)
def test_what_cannot_be_is_refused(
    node: Node, name: str, network: str, error: type[Exception], said: str
) -> None:
    claim(node, network=network)
    with pytest.raises(error, match=said):
        node.add("vm-1", claim=name)
    assert node.allocations() == {}


def test_an_add_that_could_not_write_the_claim_is_repeated(node: Node) -> None:
    made = claim(node)
    node.api.faults.add(Fault("status", path="*/ipamclaims/vm/status", code=403, times=1))
    with pytest.raises(Exception, match="403"):
        node.add("vm-1", claim="vm")
    node.delete("vm-1", claim="vm")
    assert node.addresses("vm-1", claim="vm") == ["10.7.0.1/24"]
    assert node.api.get(made)["status"]["ips"] == ["10.7.0.1/24"]
