"""The daemon's part of healing: a bounded number of things at a time.

Each part looks and plans anew, so that it acts on what is true now.  A thing that failed is not
tried again in the same round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen

from multus.healing.carrying import Remover
from multus.healing.look import Places, look
from multus.healing.plan import Thing, counted, plan

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.engine.pipeline import Engine
    from multus.healing.carrying import Done
    from multus.log import Log

#: How many things one part removes at most, and how long it goes on, in seconds.
_MOST, _SECONDS = 20, 2.0
#: How many of them the log names.
_NAMED = 10


@frozen
class Part:
    """What one part of a round came to: how many things there were of each kind, and what became.

    ``skipped`` names those that are not tried again in this round; ``more`` are still to be done.
    """

    found: dict[str, int]
    removed: dict[str, int]
    failed: dict[str, int]
    skipped: tuple[str, ...] = ()
    more: bool = False
    error: str = ""

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)


def heal(
    places: Places,
    grace: float,
    skip: Collection[str],
    engine_for: Callable[[Conf], Engine],
    log: Log,
) -> Part:
    """Remove some of what is older than *grace* seconds and not in *skip*, the oldest first."""
    made = plan(look(places), grace)
    todo = [each for each in made.remove if key_of(each) not in skip]
    until = time.monotonic() + _SECONDS
    done: list[Done] = []
    for each in Remover(places.cni_dirs, engine_for).carry_out(todo):
        done.append(each)
        if len(done) >= _MOST or time.monotonic() >= until:
            break
    failed = [each for each in done if each.problem]
    _tell(done, made.errors, log)
    return Part(
        found=counted(todo),
        removed=counted([each.thing for each in done if not each.problem]),
        failed=counted([each.thing for each in failed]),
        skipped=tuple(key_of(each.thing) for each in failed),
        more=len(done) < len(todo),
        error="; ".join(map(str, made.errors)),
    )


def key_of(thing: Thing) -> str:
    """What names a thing within a round."""
    return f"{thing.kind} {thing.container_id} {thing.name}"


def _tell(done: list[Done], errors: Collection[object], log: Log) -> None:
    gone = [f"{each.thing.name}: {each.thing.reason}" for each in done if not each.problem]
    if gone:
        said = f"healed: removed {len(gone)} thing(s) of containers that are gone"
        log.notice(said, removed=gone[:_NAMED], others=max(0, len(gone) - _NAMED))
    for each in done:
        if each.problem:
            log.error(f"healing: {each.thing.name} is left", reason=each.problem)
    for error in errors:
        log.error("healing: something cannot be looked at", error=error)
