"""Which pod of the API is the pod of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Set by the kubelet on the API's mirror of a static pod: the UID by which the node knows it.
MIRROR = "kubernetes.io/config.mirror"


def is_same(metadata: Mapping[str, Any], uid: str) -> bool:
    """Whether a pod's ``metadata`` is the pod that the runtime calls *uid* (empty: it says none).

    A static pod's UID in the API differs from the node's, but its mirror says the node's.
    """
    if not uid or metadata.get("uid") == uid:
        return True
    return MIRROR in (metadata.get("annotations") or {})
