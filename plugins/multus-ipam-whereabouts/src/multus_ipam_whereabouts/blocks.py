"""What becomes of a block: a node takes it, lends addresses of it, or gives it back.

A block's object exists while a node has the block, or an address of it.  That a name can be created
once is the lock.  ``spec.lent`` has the addresses that the node does not use itself: each with the
node that has borrowed it, or with "" while any node may.  A block that its node gave back while
others had addresses of it has no owner: ``spec.node`` is "", and any address may be borrowed that
is not lent.

As with pools, these functions run in the process that writes, with the object as it is then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from multus.api.kubernetes import Change, ObjectRef, editing
from multus.ipam.addresses import Address, Network
from multus_ipam_whereabouts.objects import BLOCKS, name_of

_Wire = Mapping[str, Any]
_NOBODY = {"node": "", "store": ""}
#: The most addresses of one block that are lent: an object is kept in memory up to 256 KiB.
MOST_LENT = 1000


class Holder(NamedTuple):
    """Who has a block or an address: the ``store`` is a folder of ``node``; both "" for none."""

    node: str
    store: str


class Offer:
    """What any node may borrow of a block: what its node offers; without an owner, all of it."""

    def __init__(self, wire: _Wire) -> None:
        self.network, self._lent = _network(wire), lent_of(wire)
        #: Only what the block's node has listed; else any address that is not lent.
        self.is_listed = bool(store_of(wire)) or len(self._lent) >= MOST_LENT

    def __contains__(self, address: Address | None) -> bool:
        if address is None or self.network is None or address not in self.network:
            return False
        holder = self._lent.get(str(address))
        return not self.is_listed if holder is None else not holder.store

    def listed(self) -> Iterator[Address]:
        """The addresses that are named as on offer."""
        parsed = (Address.parse(text) for text, each in self._lent.items() if not each.store)
        return (each for each in parsed if each is not None)


@editing
def take(wire: _Wire | None, given: _Wire) -> Change:
    """Take the block for a folder of a node, if it is free; answers whether it has the block.

    *given*: ``range``, ``block``, ``node`` and ``store``.
    """
    if wire is not None:
        return Change(_holds(wire, given))
    spec = {key: given[key] for key in ("range", "block", "node", "store")}
    head = {"apiVersion": f"{BLOCKS.group}/{BLOCKS.version}", "kind": "AddressBlock"}
    return Change(True, {**head, "spec": spec})


@editing
def lend(wire: _Wire | None, given: _Wire) -> Change:
    """Lend ``addresses``, and no other; what is borrowed stays lent.

    The answer has what the folder may not use itself as ``lent``, and ``revision``.  It is None
    when the block is not that of ``node`` and ``store``.  The object is changed each time: a write
    that a killed process has sent is refused from then on.
    """
    if wire is None or not _holds(wire, given):
        return Change()
    borrowed = {text: each._asdict() for text, each in lent_of(wire).items() if each.store}
    after = {**dict.fromkeys(given["addresses"], _NOBODY), **borrowed}
    revision = revision_of(wire) + 1
    patch = {**dict.fromkeys(_lent(wire)), **after}
    answer = {"lent": sorted(after), "revision": revision}
    return Change(answer, {"spec": {"lent": patch, "revision": revision}})


@editing
def borrow(wire: _Wire | None, given: _Wire) -> Change:
    """Borrow an address for a folder of a node, if it may be; answers whether it has the address.

    *given*: ``part``, the address, ``node`` and ``store``.
    """
    part = given["part"]
    if wire is None or store_of(wire, part) or Address.parse(part) not in Offer(wire):
        return Change(_holds(wire, given))
    lent = {part: {"node": given["node"], "store": given["store"]}}
    return Change(True, {"spec": {"lent": lent}})


@editing
def holds(wire: _Wire | None, given: _Wire) -> Change:
    """Change nothing; answers whether a folder has the block, or the ``part`` of it.

    *given*: ``node``, ``store`` and ``part``.
    """
    return Change(_holds(wire, given))


@editing
def give_back(wire: _Wire | None, given: _Wire) -> Change:
    """Give back what a folder has, as `holds` gets it; answers whether it had that."""
    if wire is None or not _holds(wire, given):
        return Change(answer=False)
    part, lent, owned = given["part"], lent_of(wire), bool(store_of(wire))
    borrowed = {text for text, each in lent.items() if each.store} - {part}
    if part and owned:
        return Change(True, {"spec": {"lent": {part: _NOBODY}}})
    if not borrowed:
        return Change(answer=True, remove=True)
    dropped = dict.fromkeys(lent.keys() - borrowed)
    return Change(True, {"spec": {**_NOBODY, "lent": dropped}})


def holder_of(wire: _Wire | None, part: str = "") -> Holder:
    """Who has a block, or the address *part* of it."""
    if part:
        return lent_of(wire).get(part, Holder("", ""))
    return _holder(_spec(wire))


def store_of(wire: _Wire | None, part: str = "") -> str:
    """The store that has a block, or the address *part* of it; "" for none."""
    return holder_of(wire, part).store


def lent_of(wire: _Wire | None) -> dict[str, Holder]:
    """The addresses of a block that its node does not use itself, and who has them."""
    network = _network(wire)
    return {
        text: _holder(each)
        for text, each in _lent(wire).items()
        if network and (found := Address.parse(text)) and found in network and str(found) == text
    }


def revision_of(wire: _Wire) -> int:
    """How often the block's node has changed what it lends."""
    revision = _spec(wire).get("revision")
    return revision if isinstance(revision, int) else 0


def range_of(wire: _Wire) -> tuple[str, str, str]:
    """Which range a block is of: the objects' namespace, the range, and its network's name."""
    ref, spec = ref_of(wire), _spec(wire)
    return ref.namespace, str(spec.get("range", "")), name_of(ref, str(spec.get("block", "")))


def ref_of(wire: _Wire) -> ObjectRef:
    """The name of a block's object."""
    metadata = wire.get("metadata", {})
    return BLOCKS.object(str(metadata.get("namespace")), str(metadata.get("name")))


def _holds(wire: _Wire | None, given: _Wire) -> bool:
    """Whether ``store`` of ``node`` has the block, or its ``part``.

    A folder that was copied to another node, or whose node has another name now, has nothing.
    """
    found = holder_of(wire, given.get("part", ""))
    return bool(found.store) and found == (given["node"], given["store"])


def _network(wire: _Wire | None) -> Network | None:
    return Network.parse(str(_spec(wire).get("block")))


def _spec(wire: _Wire | None) -> _Wire:
    spec = (wire or {}).get("spec")
    return spec if isinstance(spec, Mapping) else {}


def _lent(wire: _Wire | None) -> _Wire:
    lent = _spec(wire).get("lent")
    return lent if isinstance(lent, Mapping) else {}


def _holder(wire: Any) -> Holder:
    found = wire if isinstance(wire, Mapping) else {}
    return Holder(*(str(found.get(key, "")) for key in Holder._fields))
