"""Which pod of the API is the pod of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: On the API's mirror of a static pod, by the kubelet: the value of the next one.
MIRROR = "kubernetes.io/config.mirror"
#: On a static pod, by the kubelet: the UID by which the node knows it, a hash of its manifest.
HASH = "kubernetes.io/config.hash"


def is_same(metadata: Mapping[str, Any], uid: str) -> bool:
    """Whether ``metadata`` is of the pod that has *uid* for the runtime; "" is any.

    A static pod's UID in the API differs from the node's, but its mirror says the node's.  (The
    first kubelets wrote the word "mirror" there, and the UID into the other annotation.)
    """
    if not uid or metadata.get("uid") == uid:
        return True
    annotations = metadata.get("annotations") or {}
    return MIRROR in annotations and uid in (annotations[MIRROR], annotations.get(HASH))
