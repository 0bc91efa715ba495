"""From the objects of the API server to devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from multus_devices_dra import multus_devices

from integration.kube.claims import claim, device, reserve, result, slice_of, unallocated, vf
from multus.api.conf import Conf
from multus.api.errors import TryAgainLater
from multus.api.kubernetes import NotFound
from multus.api.request import Request
from multus.testing.apiserver import ApiServer
from multus.testing.session import new_session

VF, OTHER = "example.org/vf", "example.org/other"
IDS = [f"0000:03:02.{number}" for number in range(6)]
Asked = Callable[..., dict[str, list[str]]]


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def asked(api: ApiServer, tmp_path: Path) -> Asked:
    """Ask for the devices of pod default/web, which is on node n1."""
    uid = api.create_pod("web")["metadata"]["uid"]
    conf = Conf.from_wire({"name": "n", "kubeconfig": api.write_kubeconfig(tmp_path)})

    def ask(**args: str) -> Any:
        named = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": "default", "K8S_POD_UID": uid}
        with new_session() as session:
            return dict(multus_devices(Request("ADD", args=named | args), conf, session) or {})

    return ask


def gets(api: ApiServer, part: str) -> int:
    return sum(n for (_, path), n in api.requests.items() if part in path)


def test_a_pod_without_claims_costs_one_read(api: ApiServer, asked: Asked) -> None:
    assert asked() == {}
    assert gets(api, "resource.k8s.io") == 0
    assert gets(api, "/pods/web") == 1


def test_the_devices_of_a_claim_by_resource(api: ApiServer, asked: Asked) -> None:
    slice_of(api, vf(0), vf(1), vf(2, OTHER), vf(3))
    claim(api, "a", result("r", "vf-1"), result("r", "vf-0"), result("q", "vf-2"))
    reserve(api, "a")
    assert asked() == {VF: IDS[:2], OTHER: [IDS[2]]}


def test_devices_are_sorted_in_each_claim_and_claims_keep_the_pods_order(
    api: ApiServer, asked: Asked
) -> None:
    slice_of(api, *(vf(number) for number in range(4)))
    claim(api, "first", result("r", "vf-3"), result("r", "vf-2"))
    claim(api, "last", result("r", "vf-1"), result("r", "vf-0"))
    reserve(api, "first", None, "last")
    assert asked() == {VF: [IDS[2], IDS[3], IDS[0], IDS[1]]}


def test_slices_are_read_once_for_a_driver_by_node_and_driver(api: ApiServer, asked: Asked) -> None:
    slice_of(api, vf(0))
    slice_of(api, vf(1), name="n1-more")
    slice_of(api, device("vf-0", resource=VF, id="elsewhere"), name="n2-card", node="n2")
    slice_of(api, device("vf-0", resource=VF, id="foreign"), name="gpu", driver="gpu.example.org")
    claim(api, "a", result("r", "vf-0"))
    claim(api, "b", result("r", "vf-1"))
    reserve(api, "a", "b")
    assert asked() == {VF: IDS[:2]}
    assert gets(api, "/resourceslices") == 1


@pytest.mark.parametrize("node", ["n2", None], ids=["another-node", "withdrawn"])
def test_a_device_in_no_slice_for_the_node_fails_the_pod(
    api: ApiServer, asked: Asked, node: str | None
) -> None:
    if node:
        slice_of(api, vf(0), node=node)
    claim(api, "a", result("r", "vf-0"))
    reserve(api, "a")
    words = "claim default/a: device card.example.org/n1/vf-0 is in no resource slice of node 'n1'"
    with pytest.raises(TryAgainLater, match=words):
        asked()


@pytest.mark.parametrize(
    "scope", [{"allNodes": True}, {"nodeSelector": {"nodeSelectorTerms": []}}], ids=list
)
def test_a_device_in_a_slice_of_several_nodes_is_found(
    api: ApiServer, asked: Asked, scope: dict[str, Any]
) -> None:
    slice_of(api, vf(0))
    slice_of(api, vf(1), device("gpu-0"), name="fabric", pool="fabric", node=None, **scope)
    allocated = (result("r", name, pool="fabric") for name in ("vf-1", "gpu-0"))
    claim(api, "a", result("r", "vf-0"), *allocated)
    reserve(api, "a")
    assert asked() == {VF: IDS[:2]}


def test_pools_of_one_driver_are_apart(api: ApiServer, asked: Asked) -> None:
    slice_of(api, vf(0), pool="one", name="one")
    slice_of(api, device("vf-0", resource=VF, id=IDS[5]), pool="two", name="two")
    claim(api, "a", result("r", "vf-0", pool="two"))
    reserve(api, "a")
    assert asked() == {VF: [IDS[5]]}


def test_the_newer_generation_of_a_pool_counts(api: ApiServer, asked: Asked) -> None:
    slice_of(api, device("vf-0", resource=VF, id=IDS[5]), name="a-new", generation=2)
    slice_of(api, vf(0), name="z-old", generation=1)
    claim(api, "a", result("r", "vf-0"))
    reserve(api, "a")
    assert asked() == {VF: [IDS[5]]}


@pytest.mark.parametrize(
    "published",
    [
        device("gpu-0"),
        device("gpu-0", resource=VF),
        device("gpu-0", id=IDS[5]),
        device("gpu-0", resource="", id=IDS[5]),
        {"name": "gpu-0"},
        {"name": "gpu-0", "attributes": {"k8s.cni.cncf.io/deviceID": {"int": 5}}},
    ],
    ids=["neither", "no-id", "no-resource", "empty", "no-attributes", "no-text"],
)
def test_a_device_that_is_not_for_a_network_is_skipped(
    api: ApiServer, asked: Asked, published: dict[str, Any]
) -> None:
    slice_of(api, published, vf(0))
    claim(api, "a", result("r", "gpu-0"), result("r", "vf-0"))
    reserve(api, "a")
    assert asked() == {VF: [IDS[0]]}


@pytest.mark.parametrize("status", [{}, {"allocation": {}}, {"allocation": {"devices": {}}}])
def test_a_claim_without_allocation_fails_the_pod(
    api: ApiServer, asked: Asked, status: dict[str, Any]
) -> None:
    unallocated(api, "a", status)
    reserve(api, "a")
    with pytest.raises(TryAgainLater, match="resource claim default/a has no device allocated"):
        asked()


def test_a_claim_that_does_not_exist_fails_the_pod(api: ApiServer, asked: Asked) -> None:
    claim(api, "a", namespace="other")
    reserve(api, "a")
    with pytest.raises(NotFound, match="resource claim default/a"):
        asked()


def test_a_pod_that_was_replaced_is_told(api: ApiServer, asked: Asked) -> None:
    with pytest.raises(TryAgainLater, match="default/web was replaced"):
        asked(K8S_POD_UID="another")


def extended(*mappings: tuple[str, str, str]) -> dict[str, Any]:
    keys = ("containerName", "requestName", "resourceName")
    listed = [dict(zip(keys, each, strict=True)) for each in mappings]
    return {"resourceClaimName": "own", "requestMappings": listed}


def test_extended_resources_are_taken_by_their_requests(api: ApiServer, asked: Asked) -> None:
    slice_of(api, *(vf(number) for number in range(4)), vf(4, OTHER))
    claim(
        api,
        "own",
        *(result("r0", "vf-3"), result("r0", "vf-2"), result("r1", "vf-4")),
        *(result("r2", "vf-0"), result("unmapped", "vf-1")),
    )
    mapped = extended(("one", "r0", VF), ("one", "r1", OTHER), ("two", "r2", VF))
    reserve(api, extended=mapped)
    assert asked() == {VF: [IDS[2], IDS[3], IDS[0]], OTHER: [IDS[4]]}


def test_extended_resources_come_after_the_claims(api: ApiServer, asked: Asked) -> None:
    slice_of(api, vf(0), vf(1))
    claim(api, "a", result("r", "vf-1"))
    claim(api, "own", result("r0", "vf-0"))
    reserve(api, "a", extended=extended(("one", "r0", VF)))
    assert asked() == {VF: [IDS[1], IDS[0]]}


@pytest.mark.parametrize(
    ("published", "mapped", "words"),
    [
        (vf(0), ("one", "r9", VF), "has no device for request 'r9'"),
        (vf(0), ("one", "r", VF), "has no device for request 'r'"),
        (vf(0), ("one", "r0", OTHER), f"is published as {VF}.*'r0' of the pod is for {OTHER}"),
        (device("vf-0", id=IDS[0]), ("one", "r0", VF), "has no attribute k8s.cni.*resourceName"),
        (device("vf-0", resource=VF), ("one", "r0", VF), "has no attribute k8s.cni.*deviceID"),
        (vf(1), ("one", "r0", VF), "is in no resource slice of node 'n1'"),
    ],
)
def test_an_extended_resource_must_match_exactly(
    api: ApiServer,
    asked: Asked,
    published: dict[str, Any],
    mapped: tuple[str, str, str],
    words: str,
) -> None:
    slice_of(api, published)
    claim(api, "own", result("r0", "vf-0"))
    reserve(api, extended=extended(mapped))
    with pytest.raises(TryAgainLater, match=f"resource claim default/own.*{words}"):
        asked()


def test_without_an_api_server_nothing_is_asked() -> None:
    request = Request("ADD", args={"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": "default"})
    with new_session() as session:
        assert multus_devices(request, Conf.from_wire({"name": "n"}), session) is None
