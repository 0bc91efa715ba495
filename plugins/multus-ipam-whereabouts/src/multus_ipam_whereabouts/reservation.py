"""Reservations: an address that is in several ranges is used once.

One object for each address; that it can be created once is what makes it unique.

Source: whereabouts 0.9: ``spec`` has ``podref`` and ``ifname``.  Its ``containerid`` is filled here
alone: the binary leaves it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multus.api.kubernetes import Change, Edit, editing
from multus.ipam.addresses import Address
from multus_ipam_whereabouts import objects


def reserving(distance: int, owner: Mapping[str, Any], given: Mapping[str, Any]) -> Edit:
    """The edit that reserves an address, *distance* from the first one of its range, for *owner*.

    *given*: ``first`` of the range, and ``namespace`` and ``name``, that of the network.
    """
    first = Address.parse(given["first"])
    assert first is not None  # str() of an address
    wanted = objects.reservation(given["namespace"], str(first + distance), given["name"])
    return Edit(wanted, f"{__name__}:reserve", owner)


@editing
def reserve(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    """Reserve the address; the answer is the pod that has it instead, "" when this interface does.

    *given*: ``id``, ``podref``, ``ifname``.  Another interface of the pod is as any other pod's.
    """
    spec = {
        "containerid": given["id"],
        "podref": given["podref"],
        "ifname": given["ifname"],
    }
    if wire is None:
        kind = "OverlappingRangeIPReservation"
        return Change("", {"apiVersion": objects.API_VERSION, "kind": kind, "spec": spec})
    there = _spec(wire)
    own = there.get("podref") == given["podref"] or there.get("containerid") == given["id"]
    if not own or there.get("ifname", given["ifname"]) != given["ifname"]:
        return Change(str(there.get("podref") or "another pod"))
    return Change("") if there == spec else Change("", {"spec": spec})


@editing
def forget(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    """Remove the reservation, unless another pod or a newer container has it; answers whether.

    *given*: ``id``, ``podref``, ``ifname``; ``freed`` says that the pool had the address for this
    container until now.  The binary does not write which container has it: then the pod says so,
    but without ``freed`` it may be a newer one.
    """
    there = _spec(wire)
    same = there.get("containerid") == given["id"]
    if given["freed"] and not there.get("containerid"):
        same = there.get("podref") == given["podref"]
    same = same and there.get("ifname", given["ifname"]) == given["ifname"]
    there_and_ours = wire is not None and same
    return Change(there_and_ours, remove=there_and_ours)


def _spec(wire: Mapping[str, Any] | None) -> Mapping[str, Any]:
    found = (wire or {}).get("spec")
    return found if isinstance(found, Mapping) else {}
