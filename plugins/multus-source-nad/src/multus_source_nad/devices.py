"""The device that the kubelet assigned to a pod, and how it is passed to the delegate.

A definition with the annotation ``k8s.v1.cni.cncf.io/resourceName`` needs a device of that
resource.  The pod's devices are read from the kubelet's pod-resources socket, or from its
checkpoint file when the socket is missing.  Several networks of one resource get one device each,
in order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multus.api.errors import InvalidConfig, TryAgainLater
from multus.api.kubernetes import view_of

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Delegate
    from multus.api.request import Pod, Request
    from multus.api.session import Session

KUBELET_DIR = "/var/lib/kubelet"
_KEY = "multus_source_nad.devices"

#: The folder where delegates that declare ``CNIDeviceInfoFile`` describe their device (Device
#: Information Specification 1.1).
DEVICE_INFO = "/var/run/k8s.cni.cncf.io/devinfo/cni"


class Devices:
    """The devices of one request's pod, by resource, and their assignment to networks."""

    def __init__(self, by_resource: Mapping[str, list[str]]) -> None:
        # A device of two NUMA nodes is listed twice.
        self._free = {resource: list(dict.fromkeys(ids)) for resource, ids in by_resource.items()}
        self._given: dict[tuple[str, str], str] = {}

    def take(self, resource: str, origin: str) -> str | None:
        """The device for the element at *origin*; repeated calls return the same device."""
        key = (resource, origin)
        if key not in self._given and self._free.get(resource):
            self._given[key] = self._free[resource].pop(0)
        return self._given.get(key)


def assign(
    resource: str, origin: str, where: str, request: Request, conf: Conf, session: Session
) -> str:
    """The ID of the device for the element at *origin*."""
    pod = request.pod
    if pod is None:
        raise InvalidConfig(
            f"{where} needs a device of {resource}, and this request names no pod",
            fix="do not use it as a default network",
        )
    devices = session.once(_KEY, lambda: Devices(_read(pod, request, conf, session)))
    device = devices.take(resource, origin)
    if device is None:
        raise InvalidConfig(
            f"{where} needs a device of {resource}, and pod {request.pod} has no free one",
            where=origin,
            fix="request one more in the pod's resources",
        )
    return device


def device_runtime_config(delegate: Delegate, request: Request) -> dict[str, Any]:
    """``runtimeConfig`` with the device, and with the path where a plugin may describe it."""
    entries: dict[str, Any] = {}
    for plugin in delegate.plugins:
        device = plugin.config.get("deviceID")
        if not device or device != plugin.config.get("pciBusID"):
            continue
        if "deviceID" in plugin.capabilities:
            entries["deviceID"] = device
        if "CNIDeviceInfoFile" in plugin.capabilities:
            file = f"{delegate.name}-{request.container_id}-{device}".replace("/", "-")
            entries["CNIDeviceInfoFile"] = os.path.join(DEVICE_INFO, file)
    return entries


def _read(pod: Pod, request: Request, conf: Conf, session: Session) -> dict[str, list[str]]:
    folder = conf.reader.text("kubeletDir", KUBELET_DIR)
    socket_path = os.path.join(folder, "pod-resources", "kubelet.sock")
    view = view_of(request, conf, session)
    if view is None:
        raise TryAgainLater(
            f"finding the devices of pod {pod} needs the API", fix="set 'kubeconfig'"
        )
    if os.path.exists(socket_path):
        # Imported here: few definitions need a device, and HTTP/2 is slow to import.
        from multus_source_nad.podresources import devices_of

        return devices_of(socket_path, pod.namespace, pod.name, view.deadline)
    from multus_source_nad.checkpoint import devices_of_uid

    path = os.path.join(folder, "device-plugins", "kubelet_internal_checkpoint")
    return devices_of_uid(path, pod.uid or view.pod_uid(), str(pod))
