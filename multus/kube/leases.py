"""Leases: one process of many does what need not be done twice.

Source: coordination.k8s.io/v1, as clients of Kubernetes elect a leader.  The clocks of two nodes
may differ, so two holders at a time are possible: a lease saves work, and nothing depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from multus.api.kubernetes._edits import Change, Edit, editing
from multus.api.kubernetes._objects import Resource

if TYPE_CHECKING:
    from multus.api.kubernetes._deadline import Deadline
    from multus.kube.client import KubeClient

LEASES = Resource("coordination.k8s.io", "v1", "leases", "lease")


def take(client: KubeClient, name: str, holder: str, seconds: float, deadline: Deadline) -> bool:
    """Take or renew the lease *name* of kube-system for *seconds*; False when another has it."""
    given = {"holder": holder, "seconds": max(1, round(seconds)), "now": time.time()}
    wanted = LEASES.object("kube-system", name)
    return bool(client.edit(Edit(wanted, f"{__name__}:hold", given), deadline))


@editing
def hold(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    """Hold the lease for ``seconds`` from ``now``; the answer is whether ``holder`` has it."""
    spec = (wire or {}).get("spec") or {}
    other = spec.get("holderIdentity") not in (None, "", given["holder"])
    if other and _until(spec) > given["now"]:
        return Change(answer=False)
    at = datetime.fromtimestamp(given["now"], timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    held = {
        "holderIdentity": given["holder"],
        "leaseDurationSeconds": given["seconds"],
        "renewTime": at,
    }
    head = {} if wire else {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    return Change(True, {**head, "spec": held})


def _until(spec: Mapping[str, Any]) -> float:
    """When a lease ends, in seconds since 1970; 0 for one that cannot be read."""
    try:
        text = str(spec["renewTime"]).replace("Z", "+0000")
        renewed = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
        return renewed.timestamp() + float(spec["leaseDurationSeconds"])
    except (KeyError, TypeError, ValueError):
        return 0.0
