"""The kubelet's pod-resources API: one gRPC call over a Unix socket, and what is read of it.

Source: kubernetes k8s.io/kubelet/pkg/apis/podresources/v1 (api.proto).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus.api.errors import TryAgainLater
from multus.api.grpc import CallFailed, call, messages_of, text_of

if TYPE_CHECKING:
    from multus.api.kubernetes import Deadline

_METHOD = "/v1.PodResourcesLister/List"


def containers_of(
    path: str, namespace: str, name: str, deadline: Deadline
) -> list[dict[str, list[str]]]:
    """The device IDs of a pod's containers, by resource, as the kubelet at socket *path* has them.

    Containers and devices are in the kubelet's order.  Raises ``TryAgainLater``.
    """
    try:
        listed = call(path, _METHOD, deadline)
        return _containers(listed, namespace, name)
    except (CallFailed, ValueError, IndexError) as error:
        raise TryAgainLater(
            f"the kubelet's devices of pod {namespace}/{name} cannot be read from {path}:"
            f" {error or type(error).__name__}",
            fix="check that the kubelet runs",
        ) from error


def _containers(listed: bytes, namespace: str, name: str) -> list[dict[str, list[str]]]:
    """ListPodResourcesResponse.pod_resources[].containers[].devices[]."""
    found = []
    for pod in messages_of(listed, 1):
        if (text_of(pod, 1), text_of(pod, 2)) != (name, namespace):
            continue
        for container in messages_of(pod, 3):
            by_resource: dict[str, list[str]] = {}
            for devices in messages_of(container, 2):
                ids = [each.decode() for each in messages_of(devices, 2)]
                by_resource.setdefault(text_of(devices, 1), []).extend(ids)
            found.append(by_resource)
    return found
