"""The kubelet's device checkpoint: the fallback for kubelets without the pod-resources socket.

Source: kubernetes pkg/kubelet/cm/devicemanager/checkpoint; ``DeviceIDs`` is a list, or since 1.20 a
map from NUMA node to list.
"""

from __future__ import annotations

from typing import Any

from multus.api import regular
from multus.api.errors import DecodingFailure, TryAgainLater
from multus.api.jsontext import LARGEST, decode_object


def devices_of_uid(path: str, uid: str, pod: str) -> dict[str, list[str]]:
    """The device IDs of the pod with *uid*, by resource; raises ``TryAgainLater``."""
    try:
        content = regular.read(path, LARGEST + 1, follow=True)
    except OSError as error:
        raise TryAgainLater(
            f"the kubelet's devices of pod {pod} cannot be read from {path}: {error.strerror}",
            fix="set 'kubeletDir', or mount the kubelet's pod-resources socket",
        ) from error
    found: dict[str, list[str]] = {}
    try:
        wire = decode_object(content, f"the kubelet's checkpoint {path}")
        for entry in (wire.get("Data") or {}).get("PodDeviceEntries") or ():
            if entry.get("PodUID") == uid:
                found.setdefault(str(entry["ResourceName"]), []).extend(_ids(entry))
    except (DecodingFailure, AttributeError, KeyError, TypeError) as error:
        raise TryAgainLater(
            f"the kubelet's checkpoint {path} is damaged or of an unknown form: {error}",
            fix="restart the kubelet",
        ) from error
    return found


def _ids(entry: dict[str, Any]) -> list[str]:
    """Each device once, in the kubelet's order: a device of two NUMA nodes is listed twice."""
    ids = entry.get("DeviceIDs") or []
    if isinstance(ids, dict):
        ids = [each for node in sorted(ids) for each in ids[node]]
    return list(dict.fromkeys(str(each) for each in ids))
