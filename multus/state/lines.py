"""The lines of a record's file as JSON objects: each function makes one of a value.

``multus.state.record`` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multus.api.network import Attachment, Delegate
    from multus.api.request import Request
    from multus.api.result import Result
    from multus.state.record import Planned, Step

#: The version of the lines written here.
FORMAT = 1

#: The line of a DEL that has begun.
REMOVING: Mapping[str, Any] = {"kind": "removing"}


def intent_wire(
    request: Request,
    conf: Mapping[str, Any],
    count: int,
    started: float,
    netns_identity: str,
    boot: str = "",
) -> dict[str, Any]:
    """The first line: the request, and how many ``delegate`` lines follow.

    *boot* is the kernel's name for the time since the node was started.
    """
    return {
        "kind": "intent",
        "format": FORMAT,
        "started": round(started, 3),
        "container": request.container_id,
        "ifname": request.ifname,
        "netns": request.netns,
        "netnsIdentity": netns_identity,
        **({"boot": boot} if boot else {}),
        "path": list(request.path),
        "args": request.environ.get("CNI_ARGS", ""),
        "conf": conf,
        "delegates": count,
    }


def planned_wire(index: int, planned: Planned) -> dict[str, Any]:
    """A delegate about to be attached.  One line each: a damaged line loses one delegate only."""
    delegate = planned.delegate
    return {
        "kind": "delegate",
        "delegate": index,
        "name": delegate.name,
        "cniVersion": delegate.cni_version,
        "label": delegate.label,
        "source": delegate.source,
        "ifname": delegate.ifname,
        "primary": delegate.primary,
        "default": delegate.default,
        **({"last": True} if delegate.last else {}),
        **({"requested": delegate.requested_ifname} if delegate.requested_ifname else {}),
        **({"element": delegate.element} if delegate.element not in ("", delegate.label) else {}),
        "provenance": delegate.provenance.value,
        "disableCheck": delegate.disable_check,
        "disableGC": delegate.disable_gc,
        "options": delegate.options,
        **({"args": delegate.args} if delegate.args else {}),
        **_places_wire(delegate),
        **_device_wire(delegate),
        "steps": [_step_wire(step) for step in planned.steps],
    }


def _step_wire(step: Step) -> dict[str, Any]:
    wire = {"config": step.config, "invoker": step.invoker}
    return {**wire, "leavesNothing": True} if step.leaves_nothing else wire


def _places_wire(delegate: Delegate) -> dict[str, Any]:
    places = delegate.tenant_paths
    return {} if places is None else {"tenantPaths": {k: list(v) for k, v in places.items()}}


def _device_wire(delegate: Delegate) -> dict[str, str]:
    found = {
        "resource": delegate.resource,
        "device": delegate.device,
        "deviceInfo": delegate.device_info,
    }
    return {key: value for key, value in found.items() if value}


def attached_wire(index: int, attachment: Attachment) -> dict[str, Any]:
    """How far a delegate's chain has come; written after each of its steps."""
    return {
        "kind": "attached",
        "delegate": index,
        "result": attachment.result.to_wire("1.1.0"),
        "versions": list(attachment.versions),
        "invokers": list(attachment.invokers),
        "seconds": round(attachment.seconds, 6),
    }


def attaching_wire(index: int, planned: Planned) -> dict[str, Any]:
    """One more delegate is about to be attached to the running container."""
    return {**planned_wire(index, planned), "kind": "attaching"}


def joined_wire(index: int) -> dict[str, Any]:
    """The running container has the delegate."""
    return {"kind": "joined", "delegate": index}


def detaching_wire(index: int) -> dict[str, Any]:
    """A delegate is about to be detached from the running container."""
    return {"kind": "detaching", "delegate": index}


def detached_wire(index: int) -> dict[str, Any]:
    """A delegate is gone, while others could not be removed."""
    return {"kind": "detached", "delegate": index}


def trying_wire(index: int, at: float) -> dict[str, Any]:
    """The removal of a delegate begins once more; without a later line it counts as failed."""
    return {"kind": "trying", "delegate": index, "at": round(at, 3)}


def failed_wire(index: int, error: str, at: float) -> dict[str, Any]:
    """Removing a delegate failed; people read the beginning of the *error*."""
    return {"kind": "failed", "delegate": index, "error": error[:500], "at": round(at, 3)}


def finished_wire(result: Result) -> dict[str, Any]:
    """The container has all its networks; the answer that the runtime got."""
    return {"kind": "finished", "result": result.to_wire("1.1.0")}
