"""The devices that the kubelet assigned to a pod.

They are read from the kubelet's pod-resources socket, or from its checkpoint file when the socket
is missing.  Both list devices by container.  Those of a container are sorted, and the containers
keep their order, so that other programs that assign devices come to the same order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from multus import hookimpl
from multus.api.errors import TryAgainLater
from multus.api.kubernetes import view_of
from multus.api.progress import step

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.request import Request
    from multus.api.session import Session

KUBELET_DIR = "/var/lib/kubelet"

#: The device IDs of one container, by resource.
Container = Mapping[str, Iterable[str]]


@hookimpl(tryfirst=True)
def multus_devices(
    request: Request, conf: Conf, session: Session
) -> Mapping[str, list[str]] | None:
    """The devices of device plugins, which come before those of other sources."""
    pod, view = request.pod, view_of(request, conf, session)
    if pod is None or view is None:
        return None
    folder = conf.reader.text("kubeletDir", KUBELET_DIR)
    socket_path = os.path.join(folder, "pod-resources", "kubelet.sock")
    if os.path.exists(socket_path):
        # Imported here: few definitions need a device, and HTTP/2 is slow to import.
        from multus_source_nad.podresources import containers_of

        with step("the kubelet", view.deadline.remaining() + 5.0, waits=True):
            found = containers_of(socket_path, pod.namespace, pod.name, view.deadline)
        return joined(found)
    from multus_source_nad.checkpoint import containers_of_uid

    path = os.path.join(folder, "device-plugins", "kubelet_internal_checkpoint")
    uid = pod.uid or view.pod_uid()
    if not uid:
        raise TryAgainLater(f"the UID of pod {pod} is not known, by which {path} lists devices")
    return joined(containers_of_uid(path, uid, str(pod)))


def joined(containers: Iterable[Container]) -> dict[str, list[str]]:
    """The devices of all containers, by resource: sorted in each container, each device once."""
    found: dict[str, list[str]] = {}
    for container in containers:
        for resource, ids in container.items():
            found.setdefault(resource, []).extend(sorted(ids))
    # The kubelet lists a device of two NUMA nodes twice.
    return {resource: list(dict.fromkeys(ids)) for resource, ids in found.items()}
