"""The plan carried out, thing by thing; each is looked at once more before it is removed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from attrs import frozen

from multus.api.conf import Conf
from multus.api.errors import CNIError, TryAgainLater, attempted
from multus.api.request import Request
from multus.healing import owned
from multus.healing.facts import Intent, Rules, Seen
from multus.healing.look import why_gone
from multus.ipam import upkeep
from multus.ipam.upkeep import Held
from multus.netlink import links, open_channel
from multus.netlink.links import Link
from multus.state import garbage
from multus.state.journal import Journal
from multus.state.lock import container_lock

if TYPE_CHECKING:
    from multus.engine.pipeline import Engine
    from multus.healing.plan import Thing
    from multus.state.record import Record

_BUSY = "another command works on the container, or has attached it again"
_WAITS = "the record of its container is still there"
_PLAIN = {"name": "multus", "type": "multus", "cniVersion": "1.0.0"}


@frozen
class Done:
    """A thing, and why it is still there; *problem* is empty when it is gone."""

    thing: Thing
    problem: str = ""


class Remover:
    """Removes things; *folders* are all that have records, *engine_for* makes an engine."""

    def __init__(self, folders: Sequence[str], engine_for: Callable[[Conf], Engine]) -> None:
        self._journals = [Journal(each) for each in folders]
        self._engine_for = engine_for
        self._last: tuple[object, Engine] | None = None

    def carry_out(self, things: Iterable[Thing]) -> Iterator[Done]:
        """Remove these things in order; what fails does not prevent the others."""
        for each in things:
            yield Done(each, self._removed(each))

    def _removed(self, thing: Thing) -> str:
        """Why *thing* is still there; empty when it is gone."""
        problems: list[str] = []
        error = attempted(f"removing {thing.name}", lambda: problems.extend(self._remove(thing)))
        return str(error) if error is not None else "; ".join(problems)

    def _remove(self, thing: Thing) -> list[str]:
        """Remove *thing*; returns why it is still there."""
        what = thing.what
        if isinstance(what, Seen):
            return self._remove_record(what)
        if isinstance(what, Intent):
            _remove_intent(what)
        elif not self._has_no_record(thing.container_id):
            # What removing the record could do is done; the rest waits for the record.
            return [_WAITS] if _is_there(what) else []
        elif isinstance(what, Held):
            upkeep.free([what], lambda held: self._has_no_record(held.container_id))
        elif isinstance(what, Link):
            _remove_link(what)
        elif isinstance(what, Rules):
            owned.remove(what.rules)
        return []

    def _remove_record(self, seen: Seen) -> list[str]:
        record, journal = seen.record, Journal(seen.folder)
        conf = self._conf_of(record, seen.folder)
        environ = {key: value for key, value in os.environ.items() if not key.startswith("CNI_")}
        today = Request("GC", environ=environ)
        errors = self._engine_of(conf).remove_dead(
            record, today, conf, lambda now: bool(why_gone(now))
        )
        if not garbage.still_recorded(journal, [record]):
            return []
        return [str(each) for each in errors] or [_BUSY]

    def _engine_of(self, conf: Conf) -> Engine:
        """The engine for *conf*; most records of a node have the same configuration."""
        if self._last is None or self._last[0] != conf.raw:
            self._last = conf.raw, self._engine_for(conf)
        return self._last[1]

    def _conf_of(self, record: Record, folder: str) -> Conf:
        """The record's configuration; another record's when it is not valid, or missing."""
        here = {"cniDir": os.path.abspath(folder)}
        for each in chain((record.conf,), self._other_confs(), (_PLAIN,)):
            with suppress(CNIError):
                return Conf.from_wire({**each, **here})
        return Conf.from_wire({**_PLAIN, **here})

    def _other_confs(self) -> Iterator[dict[str, object]]:
        for journal in self._journals:
            for each in journal.records():
                if not isinstance(each, CNIError):
                    yield dict(each.conf)

    def _has_no_record(self, container_id: str) -> bool:
        intents = (key for journal in self._journals for key in journal.incomplete())
        return not any(journal.of(container_id) for journal in self._journals) and not any(
            known == container_id for known, _ in intents
        )


def _remove_intent(intent: Intent) -> None:
    try:
        with container_lock(intent.folder, intent.container_id, 0.0):
            Journal(intent.folder).remove_incomplete(intent.container_id, intent.ifname)
    except TryAgainLater as error:
        raise TryAgainLater(_BUSY) from error


def _is_there(what: object) -> bool:
    """Whether a link, rules or an address still exist."""
    if isinstance(what, Held):
        return any(each.address == what.address for each in upkeep.held_in(what.store))
    if isinstance(what, Link):
        with open_channel() as host:
            return links.find(host, what.index) is not None
    if isinstance(what, Rules):
        comments = {each.comment for each in what.rules}
        return any(each.comment in comments for each in owned.every())
    return False


def _remove_link(link: Link) -> None:
    """Delete the link, if it is still the same one."""
    with open_channel() as host:
        found = links.find(host, link.name)
        if found is not None and (found.index, found.mac) == (link.index, link.mac):
            host.request([links.delete(found.index, missing_ok=True)])
