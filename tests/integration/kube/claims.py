"""Objects of dynamic resource allocation, in the form of ``resource.k8s.io/v1``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from multus.testing.apiserver import ApiServer

DRIVER = "card.example.org"
RESOURCE_NAME, DEVICE_ID = "k8s.cni.cncf.io/resourceName", "k8s.cni.cncf.io/deviceID"
API = "resource.k8s.io/v1"


def device(name: str, **attributes: str) -> dict[str, Any]:
    """A device of a slice; the attributes ``resource`` and ``id`` are those for networks."""
    names = {"resource": RESOURCE_NAME, "id": DEVICE_ID}
    values = {names.get(key, key): {"string": value} for key, value in attributes.items()}
    return {"name": name, "attributes": {"index": {"int": 1}, **values}}


def vf(number: int, resource: str = "example.org/vf") -> dict[str, Any]:
    """A device for a network: ``vf-3`` has the ID 0000:03:02.3."""
    return device(f"vf-{number}", resource=resource, id=f"0000:03:02.{number}")


def slice_of(
    api: ApiServer,
    *devices: Mapping[str, Any],
    name: str = "n1-card",
    node: str | None = "n1",
    driver: str = DRIVER,
    pool: str = "n1",
    generation: int = 1,
    **scope: Any,
) -> None:
    """Publish devices: of *node*, or without one of the nodes that *scope* says."""
    pools = {"name": pool, "generation": generation, "resourceSliceCount": 1}
    where = scope if node is None else {"nodeName": node}
    spec = {**where, "driver": driver, "pool": pools, "devices": list(devices)}
    metadata = {"name": name}
    api.create({"apiVersion": API, "kind": "ResourceSlice", "metadata": metadata, "spec": spec})


def result(request: str, name: str, driver: str = DRIVER, pool: str = "n1") -> dict[str, Any]:
    """One device of an allocation."""
    return {"request": request, "driver": driver, "pool": pool, "device": name}


def claim(
    api: ApiServer, name: str, *results: Mapping[str, Any], namespace: str = "default"
) -> None:
    """Create a claim with this allocation."""
    unallocated(api, name, {"allocation": {"devices": {"results": list(results)}}}, namespace)


def unallocated(
    api: ApiServer, name: str, status: Mapping[str, Any], namespace: str = "default"
) -> None:
    """Create a claim with this status."""
    metadata = {"name": name, "namespace": namespace}
    api.create(
        {
            "apiVersion": API,
            "kind": "ResourceClaim",
            "metadata": metadata,
            "spec": {"devices": {"requests": []}},
            "status": dict(status),
        }
    )


def reserve(
    api: ApiServer,
    *claims: str | None,
    pod: str = "web",
    namespace: str = "default",
    extended: Mapping[str, Any] | None = None,
) -> None:
    """Write the claims into a pod's status; None is one that was not needed."""
    kind = api.store.kind("", "v1", "pods")
    assert kind is not None

    def edit(stored: dict[str, Any]) -> None:
        listed: Sequence[dict[str, Any]] = [
            {"name": f"c{number}", **({"resourceClaimName": name} if name else {})}
            for number, name in enumerate(claims)
        ]
        status: dict[str, Any] = {"resourceClaimStatuses": listed} if listed else {}
        if extended is not None:
            status["extendedResourceClaimStatus"] = dict(extended)
        stored["status"] = status

    api.store.change(kind, namespace, pod, edit)
