"""Taking a block for this node: the only part of an ADD with blocks that asks the API server.

When nodes have all blocks, one address is borrowed: of a block whose node lends it, or of one that
no node has any more.  When none is on offer, the range's pool says that one is wanted, and the
daemons of nodes that have free ones offer them (`blocklending`).
"""

from __future__ import annotations

import os
import time
from itertools import islice
from typing import TYPE_CHECKING

from multus.api.errors import AddressesExhausted, InvalidConfig
from multus.api.kubernetes import NODES, Edit, NotFound
from multus.ipam.addresses import Network
from multus_ipam_whereabouts import objects
from multus_ipam_whereabouts.blockorder import blocks_of, offers, usable_of
from multus_ipam_whereabouts.nodeblocks import (
    OURS,
    RETURNING,
    TAKING,
    Block,
    known_node,
    write_node,
)
from multus_ipam_whereabouts.objects import division_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from multus.api.kubernetes import Api, Deadline, ObjectRef
    from multus.ipam.addresses import Address
    from multus_ipam_whereabouts.nodeblocks import Folder, Home
    from multus_ipam_whereabouts.ranges import Range

_HERE = "multus_ipam_whereabouts"
#: How many names are looked up at a time in what the watch says.
_SOME = 256
#: After so many that were not free, whatever the watch says, all blocks are listed.
_TRIES = 8
#: How often the pool says that an address is wanted; how long a pod waits for one that others may
#: offer then, and the pause between two looks.  Seconds.
_EVERY, _PATIENCE, _LOOK = 15, 4.0, 0.5


class Taking:
    """Takes a block of *within* for this node; *pool* is the range's, *home* has its folders."""

    def __init__(
        self,
        api: Api,
        within: Range,
        pool: ObjectRef,
        home: Home,
        cni_dir: str,
        kubeconfig: str,
        deadline: Deadline,
    ) -> None:
        self._api, self._within, self._pool, self._home = api, within, pool, home
        self._cni_dir, self._kubeconfig, self._deadline = cni_dir, kubeconfig, deadline
        self._until: float | None = None
        network = str(within.network)
        self._name = objects.name_of(pool, network)
        self._key = pool.namespace, network, self._name

    def take(self) -> None:
        """Take one, or borrow an address, while the home's lock is held.

        When there is none, it says that one is wanted; the first who does so waits for a moment,
        and returns without one: who calls looks what has come free, and calls again.  Raises
        ``AddressesExhausted``, ``InvalidConfig`` for a range that is used in another way, and
        errors of the API server: then the next call goes on where this one ended.
        """
        self._require_divided()
        node = self._node()
        for folder in self._home.folders():
            block = folder.read()
            if block is not None and block.state == TAKING and self._taken(folder, block, node):
                return
            if block is not None and block.state == OURS and self._confirmed(folder, block, node):
                return
        for ref, network in self._free(node):
            if self._try(ref, network, node):
                return
        for ref, address in self._offers():
            if self._try(ref, Network(address, address.bits), node, str(address)):
                return
        if not self._waits():
            raise AddressesExhausted(
                f"range {self._within.network}: no address is free: nodes have all its blocks of"
                f" /{self._within.block}, and none lends an address",
                fix=self._way_out(),
            )
        time.sleep(_LOOK)

    def _try(self, ref: ObjectRef, network: Network, node: str, part: str = "") -> bool:
        """Take a block, or borrow the address *part* of it; returns whether it is this node's."""
        folder, store = self._home.folder(ref, part), os.urandom(16).hex()
        names = (str(network), ref.namespace, ref.name, store, self._kubeconfig)
        block = Block(TAKING, *names, usable=usable_of(self._within, network), part=part)
        folder.create(block)
        return self._taken(folder, block, node)

    def _way_out(self) -> str:
        """What to do when there is no address."""
        for folder in self._home.folders():
            block = folder.read()
            if block is not None and block.state == RETURNING and folder.store.names():
                return f"this node has lost {block}: delete its pods that have addresses of it"
        return "enlarge the range, or see 'multus ipam list' for who has what"

    def _waits(self) -> bool:
        """Say that an address is wanted; returns whether to wait for one."""
        if self._until is None:
            given = {"now": int(time.time()), "every": _EVERY}
            edit = Edit(self._pool, f"{_HERE}.pool:want", given)
            said = self._api.edit(edit, self._deadline)
            self._until = time.monotonic() + (_PATIENCE if said else 0.0)
        return time.monotonic() + _LOOK < min(self._until, self._deadline.at)

    def _offers(self) -> Iterator[tuple[ObjectRef, Address]]:
        """The addresses that may be borrowed, whose folder is not here already."""
        # Also one that a lost block of this node has given to a pod.
        here = {text for each in self._home.folders() for text in (each.name, *each.store.names())}
        for fresh in (False, True):
            every = self._api.select(objects.BLOCKS, {}, self._deadline, fresh=fresh)
            found = offers(every, self._key, self._within)
            free = (each for each in found if here.isdisjoint(_names(*each)))
            tried = list(islice(free, _TRIES))
            yield from tried
            if len(tried) < _TRIES:
                return

    def _taken(self, folder: Folder, block: Block, node: str) -> bool:
        """Whether the block, or its part, is this node's now; else its folder is gone."""
        if block.part:
            edit = block.edit("borrow", node)
        else:
            names = {"range": str(self._within.network), "block": block.network}
            edit = block.edit("take", node, **names)
        if self._api.edit(edit, self._deadline):
            # The daemon may return an empty block as soon as it is ours.
            with folder.store.locked(create=False, deadline=self._deadline.at):
                folder.write(block._replace(state=OURS))
            return True
        with folder.store.locked(create=False, deadline=self._deadline.at):
            folder.remove()
        return False

    def _confirmed(self, folder: Folder, block: Block, node: str) -> bool:
        """Whether the block was not known to be this node's, and is.

        A daemon that was away has not heard that the block was freed, and given to another node.
        """
        if folder.is_confirmed:
            return False
        if self._api.edit(block.edit("holds", node), self._deadline):
            folder.confirm()
            return True
        folder.retire(self._deadline, even_used=True)
        return False

    def _require_divided(self) -> None:
        """Have the range's pool say that it is given out in blocks of this length."""
        network, length = str(self._within.network), self._within.block
        try:
            known = self._api.get(self._pool, self._deadline)
        except NotFound as error:
            if not error.kind_known:
                raise
            known = {}
        there = str((known.get("spec") or {}).get("range", ""))
        if division_of(there) != (network, length):
            edit = Edit(self._pool, f"{_HERE}.pool:divide", {"range": network, "block": length})
            there = self._api.edit(edit, self._deadline)
            if there:
                raise _used_otherwise(self._pool, network, length, there)

    def _node(self) -> str:
        """This node's name.  The blocks of a node that the API server lacks would be freed."""
        node = self._api.node
        if known_node(self._cni_dir) == node:
            return node
        try:
            self._api.get(NODES.object("", node), self._deadline)
        except NotFound as error:
            if not error.kind_known:
                raise
            raise InvalidConfig(
                f"the API server has no node {node!r}: it cannot have blocks of addresses",
                fix="set 'nodeName' in the daemon's configuration",
            ) from error
        write_node(self._cni_dir, node)
        return node

    def _free(self, node: str) -> Iterator[tuple[ObjectRef, Network]]:
        """The blocks that may be free, in this node's order."""
        here = {each.name for each in self._home.folders()}
        taken, tried = set[str](), 0
        every = blocks_of(self._within, node)
        while some := list(islice(every, _SOME)):
            named = (objects.block(self._pool.namespace, str(each), self._name) for each in some)
            refs = dict(zip(named, some, strict=True))
            asked = [each for each in refs if each.name not in here]
            for ref in self._api.lacking(asked, self._deadline):
                if ref.name in taken:
                    continue
                yield ref, refs[ref]
                tried += 1
                if tried == _TRIES:
                    taken = self._listed()

    def _listed(self) -> set[str]:
        every = self._api.select(objects.BLOCKS, {}, self._deadline, fresh=True)
        metadata = (each.get("metadata", {}) for each in every)
        return {
            str(each.get("name"))
            for each in metadata
            if each.get("namespace") == self._pool.namespace
        }


def _names(block: ObjectRef, address: Address) -> tuple[str, str]:
    """How a folder of this node, or a file in one, is called that has the address."""
    return f"{block.name}_{address}", str(address)


def _used_otherwise(pool: ObjectRef, network: str, length: int, there: str) -> InvalidConfig:
    division = division_of(there)
    if division is not None:
        return InvalidConfig(
            f"range {network} is given out in blocks of /{division[1]}, not of /{length}",
            fix=f"write '\"block\": {division[1]}', or use another range",
        )
    return InvalidConfig(
        f"range {network} has a pool, from which other pods have addresses: {pool}",
        fix="use another range, or delete the pool when no pod and no node uses it",
    )
