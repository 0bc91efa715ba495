"""What is allocated in the cluster, for people and for reconciling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from multus.api.allocations import AddressRange, Allocation
from multus.api.kubernetes import (
    ApiFailure,
    Deadline,
    Edit,
    NotFound,
    ObjectRef,
    Resource,
    SourceSettings,
    api_of,
)
from multus.api.reader import Reader
from multus.ipam.addresses import Network
from multus_ipam_whereabouts import objects
from multus_ipam_whereabouts.blocklisting import divided
from multus_ipam_whereabouts.claims import claim_of
from multus_ipam_whereabouts.pool import numbered

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.kubernetes import Api
    from multus.api.session import Session

_Wire = Mapping[str, Any]


def ranges(conf: Conf, session: Session) -> list[AddressRange]:
    """Each pool, the blocks of each range, and the reservations that no pool's allocation explains.

    They are always read anew.
    """
    api = api_of(conf, session)
    if api is None:
        return []
    seconds = session.remaining(SourceSettings.of(conf).api_timeout)
    deadline = Deadline.after(seconds)
    # Reservations first: one that comes later than its pool's list would look like an orphan.
    reserved = {_ref(each): each for each in _all(api, objects.RESERVATIONS, deadline)}
    names = _names_of_parts(api, deadline)
    pools = _all(api, objects.POOLS, deadline)
    found = [_range(each, names) for each in pools if objects.division_of(_text(each)) is None]
    known = {
        edit.object for each in found for held in each.allocations for edit in held.release[1:]
    }
    orphans = tuple(_orphan(ref, wire) for ref, wire in reserved.items() if ref not in known)
    others = [AddressRange("reserved", "", len(orphans), orphans)] if orphans else []
    found += divided(pools, _blocks(api, deadline))
    return [*sorted(found, key=lambda each: (each.name, each.network)), *others]


def _blocks(api: Api, deadline: Deadline) -> list[dict[str, Any]]:
    try:
        return _all(api, objects.BLOCKS, deadline)
    except NotFound as error:
        if error.kind_known:
            raise
        return []  # the kind is not installed: no range has blocks


def _all(api: Api, kind: Resource, deadline: Deadline) -> list[dict[str, Any]]:
    return api.select(kind, {}, deadline, fresh=True)


def _names_of_parts(api: Api, deadline: Deadline) -> dict[ObjectRef, str]:
    """The network's name of each pool of a node's part of a range; the pool has the node's too."""
    try:
        divided = _all(api, objects.NODE_SLICES, deadline)
    except ApiFailure as error:
        if not error.lasts:
            raise
        return {}  # nobody has installed the kind, or may read it: there are no parts
    found = {}
    for each in divided:
        pool = _ref(each, objects.NODE_SLICES)
        for part in Reader(each, str(pool)).inner("status").inners("allocations"):
            node, network = part.text("nodeName"), part.text("sliceRange")
            # The name is that of the unnamed network's configuration, or the network's.
            for name in ("", pool.name) if node and network else ():
                found[objects.pool(pool.namespace, network, name, node)] = name
    return found


def _ref(wire: _Wire, kind: Resource = objects.RESERVATIONS) -> ObjectRef:
    metadata = wire.get("metadata", {})
    namespace, name = (str(metadata.get(key, "")) for key in ("namespace", "name"))
    return kind.object(namespace, name)


def _spec(wire: _Wire) -> _Wire:
    found = wire.get("spec")
    return found if isinstance(found, Mapping) else {}


def _text(wire: _Wire) -> str:
    return str(_spec(wire).get("range", ""))


def _range(wire: _Wire, names: Mapping[ObjectRef, str]) -> AddressRange:
    pool = _ref(wire, objects.POOLS)
    text = _text(wire)
    network = Network.parse(text)
    if network is None:
        return AddressRange(text or pool.name, "", 0)
    name = names.get(pool, objects.name_of(pool, text))
    held = tuple(_held(pool, network, name, wire))
    return AddressRange(text, name, max(0, network.host_mask - 1), held)


def _held(pool: ObjectRef, network: Network, name: str, wire: _Wire) -> Iterator[Allocation]:
    for distance, each in numbered(wire):
        if distance > network.host_mask:
            continue  # somebody else wrote it: no address of the range
        address = str(network.first + distance)
        owner = {key: str(each.get(wire_key, "")) for key, wire_key in _OWNER.items()}
        release = {**owner, "range": str(network), "fence": False}
        forget = {**owner, "freed": True}
        reservation = objects.reservation(pool.namespace, address, name)
        yield Allocation(
            address,
            owner["podref"],
            owner["ifname"],
            owner["id"],
            owner=claim_of(owner["id"]),
            release=(
                Edit(pool, "multus_ipam_whereabouts.pool:release", release),
                Edit(reservation, "multus_ipam_whereabouts.reservation:forget", forget),
            ),
        )


#: The keys of an edit, and of an allocation in a pool.
_OWNER = {"id": "id", "podref": "podref", "ifname": "ifname"}


def _orphan(ref: ObjectRef, wire: _Wire) -> Allocation:
    spec = _spec(wire)
    keys = {"id": "containerid", "podref": "podref", "ifname": "ifname"}
    owner = {key: str(spec.get(each, "")) for key, each in keys.items()}
    forget = Edit(ref, "multus_ipam_whereabouts.reservation:forget", {**owner, "freed": True})
    return Allocation(
        ref.name,
        owner["podref"],
        owner["ifname"],
        owner["id"],
        owner=claim_of(owner["id"]),
        doubt="it is reserved, and allocated in no range",
        release=(forget,),
    )
