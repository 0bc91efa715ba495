"""The kubelet's device checkpoint: the fallback for kubelets without the pod-resources socket.

Source: kubernetes pkg/kubelet/cm/devicemanager/checkpoint; ``DeviceIDs`` is a list, or since 1.20 a
map from NUMA node to list.
"""

from __future__ import annotations

from typing import Any

from multus.api import regular
from multus.api.errors import DecodingFailure, TryAgainLater
from multus.api.jsontext import LARGEST, decode_object


def containers_of_uid(path: str, uid: str, pod: str) -> list[dict[str, list[str]]]:
    """The device IDs of the containers of the pod with *uid*, by resource.

    Containers are in the file's order.  Raises ``TryAgainLater``.
    """
    try:
        content = regular.read(path, LARGEST + 1, follow=True)
    except OSError as error:
        raise TryAgainLater(
            f"the kubelet's devices of pod {pod} cannot be read from {path}: {error.strerror}",
            fix="set 'kubeletDir', or mount the kubelet's pod-resources socket",
        ) from error
    found: dict[str, dict[str, list[str]]] = {}
    try:
        wire = decode_object(content, f"the kubelet's checkpoint {path}")
        for entry in (wire.get("Data") or {}).get("PodDeviceEntries") or ():
            if entry.get("PodUID") == uid:
                container = found.setdefault(str(entry.get("ContainerName")), {})
                container.setdefault(str(entry["ResourceName"]), []).extend(_ids(entry))
    except (DecodingFailure, AttributeError, KeyError, TypeError) as error:
        raise TryAgainLater(
            f"the kubelet's checkpoint {path} is damaged or of an unknown form: {error}",
            fix="restart the kubelet",
        ) from error
    return list(found.values())


def _ids(entry: dict[str, Any]) -> list[str]:
    """The devices of all NUMA nodes."""
    ids = entry.get("DeviceIDs") or []
    if isinstance(ids, dict):
        ids = [each for node in sorted(ids) for each in ids[node]]
    return [str(each) for each in ids]
