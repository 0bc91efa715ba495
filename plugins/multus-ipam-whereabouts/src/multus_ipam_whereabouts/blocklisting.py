"""Which node has which block, for people and for reconciling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from multus.api.allocations import AddressRange, Allocation
from multus.api.kubernetes import NODES, Edit
from multus.ipam.addresses import Address, Network
from multus_ipam_whereabouts import objects
from multus_ipam_whereabouts.blocks import holder_of, lent_of, range_of, ref_of, store_of

_Wire = Mapping[str, Any]
#: A range, and the name of its network.
_Key = tuple[str, str]


def divided(pools: Iterable[_Wire], blocks: Iterable[_Wire]) -> list[AddressRange]:
    """The ranges that are given out in blocks; those of which no pool says so have blocks alone."""
    lengths: dict[_Key, int] = {}
    for each in pools:
        division = objects.division_of(_text(each, "range"))
        if division is not None:
            text, length = division
            lengths[text, _name(each, text)] = length
    held: dict[_Key, list[Allocation]] = {key: [] for key in lengths}
    for each in blocks:
        text, key = _text(each, "block"), range_of(each)[1:]
        lengths.setdefault(key, _length(text))
        held.setdefault(key, []).extend(_held(each, text))
    return [_range(key, lengths[key], held[key]) for key in lengths]


def _range(key: _Key, length: int, held: Sequence[Allocation]) -> AddressRange:
    network = Network.parse(key[0])
    size = 1 << max(0, length - network.prefix) if network else 0
    return AddressRange(*key, size, tuple(sorted(held, key=_place)), f"blocks of /{length}")


def _place(held: Allocation) -> tuple[int, bool]:
    """Blocks by number, and what is borrowed from one after it."""
    network, address = Network.parse(held.address), Address.parse(held.address)
    first = network.first if network else address
    return (first.value if first else -1), held.inner


def _held(wire: _Wire, text: str) -> Iterator[Allocation]:
    """The block, and each address that another node has borrowed from it."""
    if store_of(wire):
        yield _allocation(wire, text, "")
    else:
        doubt = "its node has given it back, and others have addresses of it"
        yield Allocation(text, "", "", doubt=doubt)
    for part, each in lent_of(wire).items():
        if each.store:
            yield _allocation(wire, part, part)


def _allocation(wire: _Wire, text: str, part: str) -> Allocation:
    ref, holder = ref_of(wire), holder_of(wire, part)
    given = {"node": holder.node, "store": holder.store, "part": part}
    release = Edit(ref, "multus_ipam_whereabouts.blocks:give_back", given)
    node, inner = NODES.object("", holder.node), bool(part)
    return Allocation(text, "", "", holder.store, owner=node, release=(release,), inner=inner)


def _length(text: str) -> int:
    network = Network.parse(text)
    return network.prefix if network else 0


def _text(wire: _Wire, key: str) -> str:
    spec = wire.get("spec")
    return str(spec.get(key, "")) if isinstance(spec, Mapping) else ""


def _name(wire: _Wire, text: str) -> str:
    metadata = wire.get("metadata", {})
    return objects.name_of(objects.POOLS.object("", str(metadata.get("name", ""))), text)
