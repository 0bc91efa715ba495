"""Undo and remove: take delegates down, and keep the record of whatever stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from multus.errors import CNIError
from multus.stages.invoke import Call, Detached, detach, joined

if TYPE_CHECKING:
    from multus.hooks import Observers
    from multus.journal import Journal, Planned, Record, Writer
    from multus.model.network import Attachment


def undo(
    attempted: Sequence[Planned],
    done: Mapping[int, Attachment],
    writer: Writer,
    call: Call,
    observers: Observers,
) -> list[CNIError]:
    """Take down every attempted delegate of a failed ADD, the last first.

    Returns what went wrong; the record stays as long as one delegate does.
    """
    detached = detach(list(enumerate(attempted)), done, call)
    for each in detached:
        observers.undone(each.delegate, each.error, call.request, call.conf)
    return settle(detached, writer)


def remove(record: Record, journal: Journal, call: Call, observers: Observers) -> list[CNIError]:
    """Take down all that *record* says may still be there; returns what went wrong."""
    planned = [(index, record.planned[index]) for index in record.left()]
    detached = detach(planned, record.done, call)
    for each in detached:
        observers.detached(each.delegate, each.error, call.request, call.conf)
    if record.damage and not any(each.errors for each in detached):
        aside = journal.set_aside(call.request.container_id, call.request.ifname)
        call.log.error(
            f"the journal of {call.request} was damaged ({record.damage}): all that it names is"
            f" removed, and it is kept as {aside}"
        )
        return []
    return settle(detached, journal.writer(record))


def settle(detached: Sequence[Detached], writer: Writer) -> list[CNIError]:
    """Forget the record when all are gone, else write down which are; returns the errors."""
    errors = [error for each in detached for error in each.errors]
    if not errors:
        writer.forget()
        return []
    for each in detached:
        if not each.errors:
            writer.detached(each.index)
    return errors


def with_undo_errors(error: CNIError, undoing: Sequence[CNIError]) -> CNIError:
    """*error*, with what could not be undone in its details."""
    if not undoing:
        return error
    left = "; ".join(f"could not be undone: {each}" for each in undoing)
    details = "; ".join(part for part in (error.details, left) if part)
    return CNIError(error.msg, details, code=error.number)


__all__ = ["joined", "remove", "settle", "undo", "with_undo_errors"]
