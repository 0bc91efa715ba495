"""The devices of a pod's ResourceClaims (dynamic resource allocation, DRA).

A DRA driver publishes its devices in ResourceSlices.  One that is for a network has two attributes:
``k8s.cni.cncf.io/resourceName``, which a NetworkAttachmentDefinition names in its annotation
``k8s.v1.cni.cncf.io/resourceName``, and ``k8s.cni.cncf.io/deviceID``, which plugins get.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from multus import hookimpl
from multus.api.kubernetes import PODS, ApiUse, Resource, view_of

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.keys import Key
    from multus.api.request import Request
    from multus.api.session import Session

GROUP, VERSION = "resource.k8s.io", "v1"
CLAIMS = Resource(GROUP, VERSION, "resourceclaims", "resource claim")
SLICES = Resource(
    GROUP,
    VERSION,
    "resourceslices",
    "resource slice",
    title="{noun} {name}",
    node_field="spec.nodeName",
)

#: The attributes of a device for a network.
RESOURCE_NAME = "k8s.cni.cncf.io/resourceName"
DEVICE_ID = "k8s.cni.cncf.io/deviceID"

#: What is read of a slice.  Whole slices have hundreds of kilobytes.
_READ = (
    ("spec", "driver"),
    ("spec", "pool"),
    ("spec", "devices", "name"),
    ("spec", "devices", "attributes", RESOURCE_NAME),
    ("spec", "devices", "attributes", DEVICE_ID),
)


@hookimpl
def multus_keys() -> list[Key]:
    """The key without which no pod is looked up, and the time limit."""
    from multus.api.kubernetes import SHARED_KEYS

    return [each for each in SHARED_KEYS if each.name in ("kubeconfig", "apiTimeout")]


@hookimpl
def multus_kubernetes() -> list[ApiUse]:
    """Pods, their claims, and the slices of their node."""
    refused = "pods whose networks take devices of resource claims are refused"
    return [
        ApiUse("get", PODS, refused, required=False),
        ApiUse("get", CLAIMS, refused, required=False),
        ApiUse("list", SLICES, refused, required=False, cached=_READ),
    ]


@hookimpl(trylast=True)
def multus_devices(
    request: Request, conf: Conf, session: Session
) -> Mapping[str, list[str]] | None:
    """The devices of the pod's claims, after those that the kubelet lists."""
    pod, view = request.pod, view_of(request, conf, session)
    if pod is None or view is None:
        return None
    # Imported here: few pods have networks that take a device.
    from multus_devices_dra.claims import devices_of

    return devices_of(pod, view, session.log)
