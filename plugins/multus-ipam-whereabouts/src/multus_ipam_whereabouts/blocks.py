"""What becomes of a block: a node takes it, or gives it back.

A block's object exists while a node has the block.  That a name can be created once is the lock.
As with pools, these functions run in the process that writes, with the object as it is then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multus.api.kubernetes import Change, editing
from multus_ipam_whereabouts.objects import BLOCKS


@editing
def take(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    """Take the block for a folder of a node, if it is free; the answer is ``store`` of who has it.

    *given*: ``range``, ``block``, ``node`` and ``store``.
    """
    if wire is not None:
        return Change(store_of(wire))
    spec = {key: given[key] for key in ("range", "block", "node", "store")}
    head = {"apiVersion": f"{BLOCKS.group}/{BLOCKS.version}", "kind": "AddressBlock"}
    return Change(given["store"], {**head, "spec": spec})


@editing
def holder(wire: Mapping[str, Any] | None, _: Mapping[str, Any]) -> Change:
    """Change nothing; the answer is the store that has the block, "" for none."""
    return Change(store_of(wire))


@editing
def give_back(wire: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Change:
    """Delete the object when ``store`` has the block; answers whether it had."""
    ours = wire is not None and store_of(wire) == given["store"]
    return Change(ours, remove=ours)


def store_of(wire: Mapping[str, Any] | None) -> str:
    """The store that has a block; "" for none."""
    spec = (wire or {}).get("spec")
    return str(spec.get("store", "")) if isinstance(spec, Mapping) else ""
