"""Undo and remove: take delegates down, and keep the record of whatever stays."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.errors import CNIError, DelegateFailed
from multus.engine.invoke import Call, Detached, detach
from multus.state import stuck
from multus.state.journal import netns_identity
from multus.state.recordfile import Writer

if TYPE_CHECKING:
    from multus.api.network import Attachment
    from multus.api.request import Request
    from multus.registry.hooks import Observers
    from multus.state.journal import Journal
    from multus.state.record import Failures, Planned, Record


def undo(
    planned: Sequence[Planned],
    attempted: Sequence[Planned],
    done: Mapping[int, Attachment],
    writer: Writer,
    call: Call,
    observers: Observers,
) -> list[CNIError]:
    """Take down every attempted delegate of a failed ADD, the last first.

    *attempted* is the beginning of *planned*, the last with the part of its chain that was begun.
    Returns what went wrong; the record stays as long as one delegate does.
    """
    detached = detach(list(enumerate(attempted)), done, call)
    for each in detached:
        observers.undone(each.delegate, each.error, call.request, call.conf)
    # What was never begun need not be taken down by whoever finds the record.
    never = [Detached(i, planned[i].delegate) for i in range(len(attempted), len(planned))]
    return settle([*detached, *never], writer)


def remove(
    record: Record,
    journal: Journal,
    call: Call,
    observers: Observers,
    beyond: Sequence[CNIError] = (),
) -> list[CNIError]:
    """Take down all that *record* says may still be there; returns what went wrong.

    *beyond* is what went wrong with delegates that the record should name and does not.
    """
    _begin(record, call)
    if record.result is None:
        detached = _one_by_one(record, call)
    else:
        planned = [(index, record.planned[index]) for index in record.left()]
        detached = detach(planned, record.done, call)
    for each in detached:
        observers.detached(each.delegate, each.error, call.request, call.conf)
    detached = stuck.without_stuck(record, detached, journal, call)
    if record.damage and not beyond and not any(each.errors for each in detached):
        aside = journal.set_aside(record.path)
        call.log.error(
            f"the journal of {call.request} was damaged ({record.damage}): all that it names is"
            f" removed, and it is kept as {aside}"
        )
        return []
    with closing(Writer(record.path)) as writer:
        return settle(detached, writer, beyond, record.failures)


def _begin(record: Record, call: Call) -> None:
    """Write down that *record* is no longer that of a container with all its networks."""
    if record.result is None:
        return
    try:
        with closing(Writer(record.path)) as writer:
            writer.removing()
    except CNIError as error:
        # Without space the networks are removed all the same; cut off, DEL has to come once more.
        call.log.error(f"it is not written down that {call.request} is being deleted", error=error)


def _one_by_one(record: Record, call: Call) -> list[Detached]:
    """Remove what an attempt before this one left, each delegate by itself.

    One of them may have cut that attempt off, and may do so again: each is written down before and
    after, and those that failed least often come first.
    """
    found = []
    order = sorted(record.left(), key=lambda index: (_failed_so_far(record, index), -index))
    with closing(Writer(record.path)) as writer:
        for index in order:
            planned = record.planned[index]
            if index in record.trying and stuck.is_enough(record, index, call.request):
                cut_off = DelegateFailed("every attempt to remove it was cut off")
                found.append(Detached(index, planned.delegate, (cut_off,)))
                continue
            if _failed_so_far(record, index) < stuck.ENOUGH:
                _noted(partial(writer.trying, index), call)
            (one,) = detach([(index, planned)], record.done, call)
            if one.error is None:
                _noted(partial(writer.detached, index), call)
            found.append(one)
    return found


def _failed_so_far(record: Record, index: int) -> int:
    known = record.failures.get(index)
    return known.count if known is not None else 0


def _noted(write: Callable[[], None], call: Call) -> None:
    """Write a line that the next attempt would like to have; without space there is none."""
    try:
        write()
    except CNIError as error:
        call.log.error(f"the record of {call.request} cannot be written", error=error)


def settle(
    detached: Sequence[Detached],
    writer: Writer,
    beyond: Sequence[CNIError] = (),
    failures: Mapping[int, Failures] = MappingProxyType({}),
) -> list[CNIError]:
    """Forget the record when all are gone, else write down which are; returns the errors.

    *failures* are the earlier ones: what has failed often enough is not counted any further.
    """
    errors = [*(error for each in detached for error in each.errors), *beyond]
    try:
        if not errors:
            writer.forget()
        for each in detached:
            known = failures.get(each.number)
            if errors and each.error is None:
                writer.detached(each.number)
            elif each.error is not None and (known is None or known.count < stuck.ENOUGH):
                writer.failed(each.number, each.error)
    except CNIError as error:
        # What is gone is taken down once more the next time, which is no error.
        errors.append(error)
    return errors


def request_of(record: Record, today: Request) -> Request:
    """The DEL of what *record* says, as *today*'s request can have it carried out.

    The arguments are the ADD's, the environment is today's; plugins are looked for where they are
    today, then where they were.
    """
    then = record.request
    bin_dir = record.conf.get("binDir")
    folders = (*today.path, *([bin_dir] if isinstance(bin_dir, str) else []), *then.path)
    return evolve(
        today,
        netns=today.netns or _still_there(record),
        path=tuple(dict.fromkeys(folders)),
        args=then.args or today.args,
        environ={**today.environ, **then.environ},
    )


def _still_there(record: Record) -> str:
    """The record's namespace, if it is the same one; empty when it is gone.

    A number under /proc, or a name, may by now stand for another container's.
    """
    netns = record.request.netns
    same = record.netns_identity and netns_identity(netns) == record.netns_identity
    return netns if same and not os.path.realpath(netns).startswith("/proc/") else ""


def with_undo_errors(error: CNIError, undoing: Sequence[CNIError]) -> CNIError:
    """*error*, with what could not be undone in its details."""
    if not undoing:
        return error
    return error.detailed(*(f"could not be undone: {each}" for each in undoing))
