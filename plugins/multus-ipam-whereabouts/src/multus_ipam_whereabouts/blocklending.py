"""Lending addresses: when a range is full, nodes that have free addresses offer them to others.

A node that finds no address says so in the range's pool (`pool.want`).  The daemon of each node
sees it by its watch.  It keeps the free addresses of its blocks from its own pods, and writes into
the block's object that others may borrow them.  When none was wanted for a while, it takes back
what nobody has borrowed.

The order makes it safe: an address is offered after the folder has it as lent, with fsync, and is
used again after a write without it has succeeded.  No write that is under way can follow that one,
since each names the version of the object that it was computed from.
"""

from __future__ import annotations

import random
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from multus.api.kubernetes import ApiFailure, Deadline, Edit, NotFound
from multus.ipam.addresses import Address, Network
from multus_ipam_whereabouts import objects
from multus_ipam_whereabouts.blockorder import addresses_of, usable_addresses
from multus_ipam_whereabouts.blocks import lent_of, range_of, store_of
from multus_ipam_whereabouts.nodeblocks import OURS
from multus_ipam_whereabouts.pool import WANTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from multus.api.kubernetes import Api, ObjectRef
    from multus.log import Log
    from multus_ipam_whereabouts.blocks import Holder
    from multus_ipam_whereabouts.nodeblocks import Block, Folder, Home
    from multus_ipam_whereabouts.ranges import Range

_BLOCKS = "multus_ipam_whereabouts.blocks"
#: How long a wish for an address counts, in seconds; up to twice as long, so that not all nodes
#: take back theirs at the same moment.  One that a daemon sees when it starts may be an old one.
_LASTS, _OLD = 300.0, 3600.0
#: The most addresses on offer: of one block, and about of one range.  Of many nodes some offer.
_OF_BLOCK, _OF_RANGE = 64, 64
#: The time for a lock that an ADD holds; seconds.
_LOCK = 0.2
_FORBIDDEN = 403
#: What was wanted in which range, and until when that counts; only a cache.
_wishes: dict[str, tuple[str, float]] = {}


def offers(
    every: Iterable[Mapping[str, Any]], key: tuple[str, str, str], within: Range
) -> Iterator[tuple[ObjectRef, Address]]:
    """The addresses of *within* that may be borrowed, with their blocks, in a random order.

    *every* are blocks' objects; *key* is the range's, see `blocks.range_of`.
    """
    found = [each for each in every if range_of(each) == key]
    random.shuffle(found)
    for each in found:
        metadata = each["metadata"]
        ref = objects.BLOCKS.object(metadata["namespace"], metadata["name"])
        # Nodes that look at the same moment do not all want the same one.
        some = list(islice(_offered(each, within), _OF_BLOCK))
        random.shuffle(some)
        yield from ((ref, address) for address in some)


def _offered(wire: Mapping[str, Any], within: Range) -> Iterator[Address]:
    lent = lent_of(wire)
    if store_of(wire):
        listed = (Address.parse(text) for text, each in lent.items() if not each.store)
        yield from (each for each in listed if each is not None and each in within)
        return
    network = Network.parse(str(wire["spec"].get("block")))
    for address in addresses_of(within, network, None) if network else ():
        if str(address) not in lent or not lent[str(address)].store:
            yield address


class Lending:
    """One round over the blocks of a *home*."""

    def __init__(self, api: Api, home: Home, deadline: Deadline, log: Log) -> None:
        self._api, self._home, self._deadline, self._log = api, home, deadline, log
        self._wanted: bool | None = None
        self._offering: bool | None = None

    def look(self, folder: Folder) -> None:
        """Offer what is free of one block, or take it back.

        Raises errors of the API server and of files.
        """
        block = folder.read()
        if block is None or block.part or block.state != OURS:
            return
        wanted = self._is_wanted()
        if not block.lent and not wanted:
            return
        wire = self._known(block)
        if wire is None:
            return
        offering = wanted and self._offers_more(wire)
        if not block.lent and not offering:
            return
        # A daemon that is being replaced may still be at work: neither may undo the other's steps.
        with self._home.locked(Deadline.after(_LOCK), "lending"):
            self._lend(folder, block, lent_of(wire), wanted=wanted, offering=offering)

    def _known(self, block: Block) -> Mapping[str, Any] | None:
        """The block's object by the watch; None when it has none, or another node's."""
        if self._api.lacking([block.object], self._deadline):
            return None
        (found,) = self._api.get_each([block.object], self._deadline)
        return found if isinstance(found, dict) and store_of(found) == block.store else None

    def _lend(
        self,
        folder: Folder,
        block: Block,
        lent: Mapping[str, Holder],
        *,
        wanted: bool,
        offering: bool,
    ) -> None:
        borrowed = {text for text, each in lent.items() if each.store}
        mine = self._mine(folder, borrowed, offering=offering)
        if mine == lent.keys() and (wanted or mine == borrowed):
            return
        given = {"store": block.store, "addresses": sorted(mine) if wanted else []}
        edit = Edit(block.object, f"{_BLOCKS}:lend", given)
        try:
            answer = self._api.edit(edit, self._deadline)
        except ApiFailure as error:
            if error.status == _FORBIDDEN:  # nothing was offered that the watch does not show
                self._settle(folder, sorted(lent))
            raise
        if answer is not None:  # else it is another node's by now
            self._settle(folder, answer)

    def _mine(self, folder: Folder, borrowed: set[str], *, offering: bool) -> set[str]:
        """What the folder has as lent; more than before when it is *offering*."""
        with folder.store.locked(create=False, deadline=Deadline.after(_LOCK).at) as ledger:
            block = folder.read()
            if ledger is None or block is None or block.state != OURS:
                return set()
            mine, network = set(block.lent.split()), Network.parse(block.network)
            if offering and network:
                usable = map(str, usable_addresses(network, block.usable))
                free = (each for each in usable if each not in ledger.holders and each not in mine)
                chosen = set(islice(free, max(0, _OF_BLOCK - len(mine - borrowed))))
                _write(folder, block, mine | chosen)
                mine |= chosen
            return mine

    def _settle(self, folder: Folder, lent: list[str]) -> None:
        """Have the folder lend exactly what the object says."""
        with folder.store.locked(create=False, deadline=Deadline.after(_LOCK).at) as ledger:
            block = folder.read()
            if ledger is None or block is None or block.state != OURS:
                return
            for text in ledger.holders.keys() & set(lent):
                self._log.error(f"{block.object}: {text} is lent, and in use on this node")
            _write(folder, block, lent)

    def _is_wanted(self) -> bool:
        """Whether a node has wanted an address of the range lately, by the watch of pools."""
        if self._wanted is None:
            self._wanted = self._wish()
        return self._wanted

    def _wish(self) -> bool:
        pool, place = self._home.pool, self._home.path
        if self._api.lacking([pool], self._deadline):
            return False  # no watch has it, and the API server is not asked each second
        try:
            metadata = self._api.get(pool, self._deadline).get("metadata", {})
        except NotFound:
            return False
        text, now = str((metadata.get("annotations") or {}).get(WANTED, "")), time.monotonic()
        known = _wishes.get(place)
        if known is None or known[0] != text:
            lasts = _LASTS * random.uniform(1.0, 2.0)
            _wishes[place] = text, now + lasts if known is not None or _is_new(text) else now
        return now < _wishes[place][1]

    def _offers_more(self, wire: Mapping[str, Any]) -> bool:
        """Whether this node shall offer some: few are on offer, and chance has chosen it."""
        if self._offering is None:
            every = self._api.select(objects.BLOCKS, {}, self._deadline)
            found = [each for each in every if range_of(each) == range_of(wire)]
            on_offer = sum(not one.store for each in found for one in lent_of(each).values())
            few, chosen = on_offer < _OF_RANGE, random.random() * len(found) < _OF_RANGE
            self._offering = few and chosen
        return self._offering


def _write(folder: Folder, block: Block, lent: Iterable[str]) -> None:
    """Have the folder's file say what is lent, while its lock is held; durable afterwards."""
    text = " ".join(sorted(lent))
    if text != block.lent:
        folder.write(block._replace(lent=text))


def _is_new(text: str) -> bool:
    """Whether a wish is of the last hour, as far as clocks agree."""
    return text.isascii() and text.isdecimal() and abs(time.time() - int(text)) < _OLD
