"""Returning blocks: the daemon gives back what is empty, and notices what was taken away.

A block is returned in three steps, each of which can be repeated: under its folder's lock it is
marked, so that no ADD uses it any more; its object is deleted; the folder is removed.  Whatever is
killed between two of them, the next round goes on from what the folder says.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from multus.api.errors import CNIError, TryAgainLater
from multus.api.kubernetes import Deadline, api_of
from multus.ipam.store import Busy
from multus_ipam_whereabouts.blocklending import Lending, forget
from multus_ipam_whereabouts.blocks import holder_of
from multus_ipam_whereabouts.blockstrays import strays
from multus_ipam_whereabouts.nodeblocks import OURS, RETURNING, TAKING, homes

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.kubernetes import Api
    from multus.api.session import Session
    from multus.log import Log
    from multus_ipam_whereabouts.nodeblocks import Block, Folder, Home

#: The time for all blocks of a round, and for a lock that an ADD holds; seconds.
_ROUND, _LOCK = 30.0, 0.2
#: How many addresses are named.
_NAMED = 5
#: How long the request of a process that was killed may be under way to the server, in seconds.
_UNDER_WAY = 60.0
#: While no watch says which blocks there are, the API server is asked for each this seldom: it may
#: be overloaded, and all nodes ask.
_AGAIN = 300.0
#: When it may be asked next, by folder; only a cache.
_asked: dict[str, float] = {}
#: Since when a folder's lock is held by others; only a cache.
_busy: dict[str, float] = {}


def upkeep(conf: Conf, session: Session, grace: float) -> None:
    """One round over the blocks of a ``cniDir`` that are of the session's API server.

    It goes on after an error, and raises the first one.
    """
    api, errors = api_of(conf, session), list[CNIError]()
    if api is None:
        return
    deadline = Deadline.after(session.remaining(_ROUND))
    returning = Returning(api, grace, deadline, session.log)
    server = conf.reader.text("kubeconfig")
    for home in homes(conf.cni_dir):
        lending = Lending(api, home, deadline, session.log)
        for folder in home.folders():
            try:
                block = folder.read()
                if block is None or not server or block.kubeconfig == server:
                    returning.look(home, folder, block)
                    lending.look(folder)
                _busy.pop(folder.path, None)
            except Busy as error:
                # An ADD holds the lock, or another daemon: the next round looks again.
                if time.monotonic() > _busy.setdefault(folder.path, time.monotonic()) + _UNDER_WAY:
                    errors.append(error)
            except CNIError as error:
                errors.append(error)
    with suppress(TryAgainLater):  # the kind may not be installed, or the server be away
        for said in strays(api, conf.cni_dir, deadline):
            session.log.error(said)
    if errors:
        raise errors[0]


class Returning:
    """One round: what was not used for *grace* seconds is returned."""

    def __init__(self, api: Api, grace: float, deadline: Deadline, log: Log) -> None:
        self._api, self._grace, self._deadline, self._log = api, grace, deadline, log

    def look(self, home: Home, folder: Folder, block: Block | None) -> None:
        """Do the next steps for one folder; raises errors of the API server and of files."""
        if block is None or block.state == TAKING:
            if folder.idle >= max(self._grace, _UNDER_WAY):
                self._give_up(home, folder)
        elif block.state == OURS and self._is_lost(folder, block):
            folder.retire(Deadline.after(_LOCK), even_used=True)
            self._log.error(_lost(folder, block))
        elif block.state == OURS and folder.idle >= self._grace:
            folder.retire(Deadline.after(_LOCK))
        block = folder.read()
        if block is not None and block.state == RETURNING:
            self._return(folder, block)

    def _give_up(self, home: Home, folder: Folder) -> None:
        """A kill came while the block was being taken: no address of it was given out."""
        with home.locked(Deadline.after(_LOCK)):
            block = folder.read()
            if block is None:
                self._remove(folder)
            elif block.state == TAKING:
                folder.write(block._replace(state=RETURNING))

    def _return(self, folder: Folder, block: Block) -> None:
        if folder.store.names():
            return  # a block that was lost: its pods keep their addresses until their DEL
        if self._api.edit(block.edit("give_back", self._api.node), self._deadline):
            self._log.notice(f"returned {block}: no pod has an address of it")
        self._remove(folder)

    def _remove(self, folder: Folder) -> None:
        for known in (_asked, _busy):
            known.pop(folder.path, None)
        forget(folder)
        with folder.store.locked(create=False, deadline=Deadline.after(_LOCK).at) as ledger:
            if ledger is not None and not ledger.holders:
                folder.remove()

    def _is_lost(self, folder: Folder, block: Block) -> bool:
        """Whether the API server says that no node, or another one, has the block."""
        if self._api.lacking([block.object], self._deadline):
            if time.monotonic() < _asked.get(folder.path, 0.0):
                return False
        else:
            _asked.pop(folder.path, None)
            (found,) = self._api.get_each([block.object], self._deadline)
            held = (self._api.node, block.store)
            if isinstance(found, dict) and holder_of(found, block.part) == held:
                folder.confirm()
                return False
        # What a watch says may be older than the block.
        holds = self._api.edit(block.edit("holds", self._api.node), self._deadline)
        _asked[folder.path] = time.monotonic() + _AGAIN
        if holds:
            folder.confirm()
        return not holds


def _lost(folder: Folder, block: Block) -> str:
    """What is said of a block that was lost."""
    said, used = f"{block} is not this node's any more", folder.store.names()
    if not used:
        return said
    some = ", ".join(used[:_NAMED]) + (f" and {len(used) - _NAMED} more" if used[_NAMED:] else "")
    return f"{said}: delete its pods that have {some}, since others may get the same addresses"
