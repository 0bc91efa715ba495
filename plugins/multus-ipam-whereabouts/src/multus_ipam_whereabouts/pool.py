"""What becomes of a pool: an address is allocated, or given back.

These functions run in the process that writes, with the pool as it is at that moment.  An address
is its distance from the first one of the range.

Source: whereabouts 0.9: ``spec.range``; ``spec.allocations`` maps the distance, in decimal, to
``id`` (the container), ``podref`` (namespace/name) and ``ifname``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from multus.api.errors import AddressesExhausted, InvalidConfig
from multus.api.kubernetes import Change, editing
from multus_ipam_whereabouts.objects import API_VERSION, divided, division_of
from multus_ipam_whereabouts.reservation import reserving

#: Which addresses the pods of networks with ``sticky`` had: JSON, "namespace/name interface" to a
#: distance.
REMEMBERED = "ipam.multus/remembered"
#: The container whose ADD was killed last.
FENCE = "ipam.multus/fence"
#: When a node wanted an address of a range with blocks and found none: seconds since 1970.
WANTED = "ipam.multus/wanted"
#: The most pods that are remembered for one pool; an annotation may have 256 KiB.
_MOST_REMEMBERED = 2048
_MOST_BYTES = 200_000
#: The digits of the greatest distance, in an IPv6 range.
_MOST_DIGITS = 39

_Allocations = Mapping[str, Mapping[str, Any]]


@editing
def allocate(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    """Allocate an address; the answer is its distance from the first of the range.

    *given*: ``range``; ``spans``, lists of two distances, both included; ``id``, ``podref`` and
    ``ifname``; ``wanted``, the distances that may be allocated when not any may; ``avoid``,
    distances that are taken elsewhere; ``sticky``; ``claim`` when ``id`` is that of a claim;
    ``reserve``, None or what `reservation.reserving` needs: the address is reserved too, and
    ``at_once`` where no other node writes the pool; ``new``, without which nothing is allocated
    from an empty pool: the answer is None then.  What the pod has on this interface already, or
    the claim, is the answer again, and gets the new ID.  Raises ``AddressesExhausted``.
    """
    allocations = allocations_of(wire)
    _require_range(wire, given["range"])
    if not allocations and not given.get("new", True):
        return Change()
    avoid, wanted = frozenset(given["avoid"]), given["wanted"]
    same = "id" if given["claim"] else "podref"
    held = [
        distance
        for distance, each in _numbered(allocations)
        if each.get(same) == given[same] and each.get("ifname", "") == given["ifname"]
    ]
    fitting = [each for each in held if each not in avoid and (not wanted or each in wanted)]
    memory = _memory(wire)
    found = fitting[0] if fitting else _free(allocations, given, avoid, memory)
    entry = {key: given[key] for key in ("id", "podref", "ifname")}
    patch: dict[str, Any] = {str(each): None for each in held if each != found}
    if allocations.get(str(found)) != entry:
        patch[str(found)] = entry
    annotations = _remembering(memory, given, found) if given["sticky"] else {}
    change = Change(found)
    if patch or annotations:
        change = Change(found, _whole(wire, given["range"], patch, annotations))
    reserve = given["reserve"]
    if not reserve:
        return change
    then = reserving(found, entry, reserve)
    return change._replace(then=then, at_once=reserve["at_once"])


@editing
def release(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    """Give back what a container has on an interface; the answer maps distances to pods.

    *given*: ``id``, ``ifname``, ``range`` and ``fence``.  What a newer container of the same pod
    has taken over stays.  With ``fence``, the write of an ADD that was killed may be under way at
    the server: when nothing is there yet, the pool is changed, and that write will be refused.
    """
    freed = {
        str(distance): str(each.get("podref", ""))
        for distance, each in _numbered(allocations_of(wire))
        if each.get("id") == given["id"] and each.get("ifname", "") == given["ifname"]
    }
    if freed:
        return Change(freed, {"spec": {"allocations": dict.fromkeys(freed)}})
    if division_of(_range(wire)):
        return Change(freed)  # no pod can have been given an address of it
    annotations = (wire or {}).get("metadata", {}).get("annotations") or {}
    if not given["fence"] or annotations.get(FENCE) == given["id"]:
        return Change(freed)
    return Change(freed, _whole(wire, given["range"], {}, {FENCE: given["id"]}))


@editing
def held(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    """Change nothing; the answer is what a container has on an interface, as `release` has it."""
    return Change(release(wire, {**given, "fence": False}).answer)


@editing
def divide(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    """Have the range given out in blocks; the answer is the pool's range when it is used otherwise.

    *given*: ``range``, and ``block``, the prefix length.  Blocks of two lengths would overlap, and
    a pool has addresses of all of them: the pool's object decides, since it is one.  An empty pool
    is used in either way.
    """
    wanted = divided(given["range"], given["block"])
    there = _range(wire) or given["range"]
    if there == wanted:
        return Change("")
    if wire is None:
        return Change("", _whole(wire, wanted, {}, {}))
    if allocations_of(wire) or division_of(there):
        return Change(there)
    return Change("", {"spec": {"range": wanted}})


@editing
def want(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    """Say in the pool of a range with blocks that a node has found no address of it.

    *given*: ``now`` and ``every``, in seconds: it is said once in this time.  The answer is whether
    this edit has said so.
    """
    if wire is None or 0 <= given["now"] - demand_of(wire) < given["every"]:
        return Change(answer=False)
    return Change(True, {"metadata": {"annotations": {WANTED: str(given["now"])}}})


def demand_of(wire: Mapping[str, Any]) -> int:
    """When it was said last in a pool, by the clock of who said it; 0 for never."""
    annotations = wire.get("metadata", {}).get("annotations") or {}
    text = str(annotations.get(WANTED, ""))
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else 0


def allocations_of(wire: Mapping[str, Any] | None) -> _Allocations:
    """The allocations of a pool; empty when it does not exist."""
    spec = (wire or {}).get("spec")
    found = spec.get("allocations") if isinstance(spec, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def numbered(wire: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The allocations of a pool: the distance, and who has it; the lowest first."""
    return _numbered(allocations_of(wire))


def _numbered(allocations: _Allocations) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Distances and who has them, the lowest first; other keys are left alone, as by the binary."""
    keys = sorted(int(each) for each in allocations if _is_distance(each))
    for key in keys:
        each = allocations.get(str(key))
        if isinstance(each, Mapping):
            yield key, each


def _is_distance(key: str) -> bool:
    return key.isascii() and key.isdecimal() and len(key) <= _MOST_DIGITS


def _range(wire: Mapping[str, Any] | None) -> str:
    spec = (wire or {}).get("spec")
    return str(spec.get("range", "")) if isinstance(spec, Mapping) else ""


def _require_range(wire: Mapping[str, Any] | None, network: str) -> None:
    there = _range(wire) or network
    division = division_of(there)
    if division is not None:
        raise InvalidConfig(
            f"range {network} is given out in blocks: 'block' is missing in this configuration",
            fix=f"add '\"block\": {division[1]}' beside the range",
        )
    if there != network:
        raise InvalidConfig(
            f"range {network}: its address pool has range {there!r}",
            fix="delete the pool when no pod uses it, or correct its 'range'",
        )


def _free(
    allocations: _Allocations,
    given: Mapping[str, Any],
    avoid: Iterable[int],
    memory: Mapping[str, int],
) -> int:
    """A free distance: the wanted one, the one that this pod had, one that no pod had, any."""
    spans: Sequence[Sequence[int]] = given["spans"]
    taken = {int(each) for each in allocations if _is_distance(each)} | set(avoid)
    if given["wanted"]:
        free = next((each for each in given["wanted"] if each not in taken), None)
        if free is None:
            raise _in_use(allocations, given)
        return int(free)
    own = memory.get(_key(given))
    if own is not None and own not in taken and any(a <= own <= b for a, b in spans):
        return own
    for excluded in (taken | set(memory.values()), taken):
        for first, last in spans:
            free = next((each for each in range(first, last + 1) if each not in excluded), None)
            if free is not None:
                return free
    raise _exhausted(allocations, given)


def _in_use(allocations: _Allocations, given: Mapping[str, Any]) -> AddressesExhausted:
    holders = dict(_numbered(allocations))
    found = [holders.get(each, {}).get("podref") for each in given["wanted"]]
    who = ", ".join(sorted({str(each or "another range") for each in found}))
    return AddressesExhausted(
        f"range {given['range']}: the requested address is in use by {who}",
        fix="request another",
    )


def _exhausted(allocations: _Allocations, given: Mapping[str, Any]) -> AddressesExhausted:
    size = sum(last - first + 1 for first, last in given["spans"])
    inside = [
        each
        for distance, each in _numbered(allocations)
        if any(first <= distance <= last for first, last in given["spans"])
    ]
    names = Counter(str(each.get("podref", "")).partition("/")[0] for each in inside)
    most = ", ".join(f"{name or '?'} ({count})" for name, count in names.most_common(3))
    return AddressesExhausted(
        f"range {given['range']}: no address is free: {len(inside)} of {size} are in use, the most"
        f" by pods of namespace {most}",
        fix="enlarge the range, or see 'multus ipam status'",
    )


def _key(given: Mapping[str, Any]) -> str:
    return f"{given['podref']} {given['ifname']}"


def _memory(wire: Mapping[str, Any] | None) -> dict[str, int]:
    """Which distance a pod had on an interface; an annotation that cannot be read is none."""
    metadata = (wire or {}).get("metadata", {})
    text = (metadata.get("annotations") or {}).get(REMEMBERED)
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    items = found.items() if isinstance(found, dict) else ()
    return {key: each for key, each in items if isinstance(each, int)}


def _remembering(memory: Mapping[str, int], given: Mapping[str, Any], found: int) -> dict[str, str]:
    if memory.get(_key(given)) == found:
        return {}
    others = {key: each for key, each in memory.items() if key != _key(given) and each != found}
    kept = dict(list(others.items())[-_MOST_REMEMBERED + 1 :])
    text = json.dumps({**kept, _key(given): found}, separators=(",", ":"))
    while len(text) > _MOST_BYTES:  # of long names; those that were remembered first go
        kept = dict(list(kept.items())[len(kept) // 2 + 1 :])
        text = json.dumps({**kept, _key(given): found}, separators=(",", ":"))
    return {REMEMBERED: text}


def _whole(
    wire: Mapping[str, Any] | None,
    network: str,
    allocations: Mapping[str, Any],
    annotations: Mapping[str, str],
) -> dict[str, Any]:
    metadata = {"metadata": {"annotations": dict(annotations)}} if annotations else {}
    spec: dict[str, Any] = {"allocations": dict(allocations)}
    if wire is not None:
        return {**metadata, "spec": spec}
    head = {"apiVersion": API_VERSION, "kind": "IPPool"}
    return {**head, **metadata, "spec": {"range": network, **spec}}
