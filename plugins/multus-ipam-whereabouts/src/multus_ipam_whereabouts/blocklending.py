"""Lending addresses: when a range is full, nodes that have free addresses offer them to others.

A node that finds no address says in the range's pool that it needs one (`pool.want`): this is the
demand, which the daemon of each node sees by its watch.  Some of those that have free addresses
keep them from their own pods, and write into the block's object that others may borrow them; twice
as many each time when the demand is repeated.  When there was none for a while, they take back what
was not borrowed.

The order makes it safe: an address is offered after the folder has it as lent, with fsync, and is
used again after a write without it has succeeded.  No write that is under way can follow that one,
since each names the version of the object that it was computed from.
"""

from __future__ import annotations

import random
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from multus.api.kubernetes import ApiFailure, Deadline, NotFound
from multus.ipam.addresses import Network
from multus_ipam_whereabouts.blockorder import usable_addresses
from multus_ipam_whereabouts.blocks import MOST_LENT, holder_of, lent_of, revision_of
from multus_ipam_whereabouts.nodeblocks import LENDING, OURS
from multus_ipam_whereabouts.pool import demand_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from multus.api.kubernetes import Api
    from multus.log import Log
    from multus_ipam_whereabouts.nodeblocks import Block, Folder, Home

#: How long a demand counts, in seconds; up to twice as long, so that not all nodes take back theirs
#: at the same moment.  One that is found at the start is new for so many seconds after it was said.
_LASTS, _NEW = 300.0, 15.0
#: Of so many blocks, about, addresses are offered for a first demand.
_FIRST = 4
#: The most addresses of one block that are offered for one demand.
_AT_ONCE = 64
#: The time for a lock that an ADD holds, and how late a watch may be; seconds.
_LOCK, _LATE = 0.2, 100.0
_FORBIDDEN = 403


class _Demand(NamedTuple):
    """The last demand that a daemon saw: ``said`` is its text, it counts ``until`` this moment.

    ``number`` is how many came before it without a pause.
    """

    said: int
    until: float
    number: int


#: By home; only a cache.
_demands: dict[str, _Demand] = {}
#: What was written last of a block, by folder: its revision, and when; only a cache.
_revisions: dict[str, tuple[int, float]] = {}


def forget(folder: Folder) -> None:
    """Drop what is remembered of a folder that is removed."""
    _revisions.pop(folder.path, None)


class Lending:
    """One round over the blocks of a *home*."""

    def __init__(self, api: Api, home: Home, deadline: Deadline, log: Log) -> None:
        self._api, self._home, self._deadline, self._log = api, home, deadline, log
        self._read = False
        self._demand: _Demand | None = None
        self._is_new = False

    def look(self, folder: Folder) -> None:
        """Offer what is free of one block, or take it back.

        Raises errors of the API server and of files.
        """
        block = folder.read()
        if block is None or block.part or block.state != OURS:
            return
        wire = self._known(block)
        if wire is None or _is_late(folder, wire):
            return
        self._read_demand()
        wanted = self._demand is not None and time.monotonic() < self._demand.until
        offering = self._is_chosen(block, wire)
        if not (block.lent or lent_of(wire) or offering):
            return
        # A daemon that is being replaced may still be at work: neither may undo the other's steps.
        with self._home.locked(Deadline.after(_LOCK), LENDING):
            self._lend(folder, block, wire, wanted=wanted, offering=offering)

    def _known(self, block: Block) -> Mapping[str, Any] | None:
        """The block's object by the watch; None when it has none, or another node's."""
        if self._api.lacking([block.object], self._deadline):
            return None
        (found,) = self._api.get_each([block.object], self._deadline)
        held = (self._api.node, block.store)
        return found if isinstance(found, dict) and holder_of(found) == held else None

    def _lend(
        self,
        folder: Folder,
        block: Block,
        wire: Mapping[str, Any],
        *,
        wanted: bool,
        offering: bool,
    ) -> None:
        lent = lent_of(wire)
        borrowed = {text for text, each in lent.items() if each.store}
        before, mine = self._choose(folder, offering=offering)
        if mine == lent.keys() and (wanted or mine == borrowed):
            return
        lending = block.edit("lend", self._api.node, addresses=sorted(mine) if wanted else [])
        try:
            answer = self._api.edit(lending, self._deadline)
        except ApiFailure as error:
            if error.status == _FORBIDDEN:  # what was chosen now is in no write
                self._settle(folder, before)
            raise
        if answer is not None:  # else it is another node's by now
            _revisions[folder.path] = answer["revision"], time.monotonic()
            self._settle(folder, answer["lent"])

    def _choose(self, folder: Folder, *, offering: bool) -> tuple[set[str], set[str]]:
        """What the folder had as lent, and has now: more when it is *offering*."""
        with folder.store.locked(create=False, deadline=Deadline.after(_LOCK).at) as ledger:
            block = folder.read()
            if ledger is None or block is None or block.state != OURS:
                return set(), set()
            before, network = set(block.lent.split()), Network.parse(block.network)
            if not offering or network is None:
                return before, before
            usable = map(str, usable_addresses(network, block.usable))
            free = (each for each in usable if each not in ledger.holders and each not in before)
            after = before | set(islice(free, min(_AT_ONCE, max(0, MOST_LENT - len(before)))))
            _write(folder, block, after)
            return before, after

    def _settle(self, folder: Folder, lent: Iterable[str]) -> None:
        """Have the folder lend exactly what the object says."""
        with folder.store.locked(create=False, deadline=Deadline.after(_LOCK).at) as ledger:
            block = folder.read()
            if ledger is None or block is None or block.state != OURS:
                return
            for text in ledger.holders.keys() & set(lent):
                self._log.error(f"{block.object}: {text} is lent, and in use on this node")
            _write(folder, block, lent)

    def _is_chosen(self, block: Block, wire: Mapping[str, Any]) -> bool:
        """Whether this block shall offer addresses for a demand that is new; chance decides."""
        whole, part = Network.parse(str(wire["spec"].get("range"))), Network.parse(block.network)
        if not self._is_new or self._demand is None or whole is None or part is None:
            return False
        blocks = 1 << max(0, part.prefix - whole.prefix)
        return random.random() * blocks < _FIRST << min(self._demand.number, part.prefix)

    def _read_demand(self) -> None:
        """Read the last demand by the watch of pools, once a round."""
        if self._read:
            return
        self._read, pool, place = True, self._home.pool, self._home.path
        known = self._demand = _demands.get(place)
        if self._api.lacking([pool], self._deadline):
            return  # no watch has it, and the API server is not asked each second
        try:
            said = demand_of(self._api.get(pool, self._deadline))
        except NotFound:
            return
        now = time.monotonic()
        if known is not None and known.said == said:
            return
        # A daemon that starts, or has its first block, finds demands of long ago.
        self._is_new = known is not None or 0.0 <= time.time() - said < _NEW
        number = known.number + 1 if known is not None and now < known.until else 0
        lasts = _LASTS * random.uniform(1.0, 2.0) if self._is_new else 0.0
        self._demand = _demands[place] = _Demand(said, now + lasts, number)


def _is_late(folder: Folder, wire: Mapping[str, Any]) -> bool:
    """Whether the watch does not show yet what was written: it would be written again."""
    revision, since = _revisions.get(folder.path, (0, 0.0))
    return revision_of(wire) < revision and time.monotonic() < since + _LATE


def _write(folder: Folder, block: Block, lent: Iterable[str]) -> None:
    """Have the folder's file say what is lent, while its lock is held; durable afterwards."""
    text = " ".join(sorted(lent))
    if text != block.lent:
        folder.write(block._replace(lent=text))
