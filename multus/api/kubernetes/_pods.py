"""Match a pod of the API with the pod of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The kubelet sets it on the API's mirror pod of a static pod: the value of the next annotation.
MIRROR = "kubernetes.io/config.mirror"
#: The kubelet sets it on a static pod: the pod's UID on the node, a hash of its manifest.
HASH = "kubernetes.io/config.hash"


def is_same(metadata: Mapping[str, Any], uid: str) -> bool:
    """Whether ``metadata`` is of the pod whose UID on the node is *uid*; "" matches any pod.

    A static pod's UID in the API differs from the node's; its mirror pod has the node's UID in an
    annotation.  (The first kubelets wrote the word "mirror" there, and the UID into the other one.)
    """
    if not uid or metadata.get("uid") == uid:
        return True
    annotations = metadata.get("annotations") or {}
    return MIRROR in annotations and uid in (annotations[MIRROR], annotations.get(HASH))
