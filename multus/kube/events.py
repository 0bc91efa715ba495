"""Events on pods, in their wire form."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multus.api.kubernetes._interface import PodEvent


def event_of(write: PodEvent, node: str) -> dict[str, Any]:
    """The event object of *write*, by *node*; its name is made of its content."""
    pod, now = write.pod, datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    content = "\0".join((pod.uid, write.reason, write.message, now))
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": pod.namespace, "name": f"{pod.name[:230]}.{digest}"},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": pod.uid,
        },
        "type": write.kind,
        "reason": write.reason,
        # The API refuses longer messages.
        "message": write.message[:1024],
        "source": {"component": "multus", "host": node},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
