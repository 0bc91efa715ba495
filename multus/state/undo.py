"""Undo: detach all that a record names, and keep the record of what stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.errors import CNIError, DelegateFailed
from multus.state import liveness, stuck
from multus.state.plugins import Detached
from multus.state.recordfile import Writer

if TYPE_CHECKING:
    from multus.api.request import Request
    from multus.registry.hooks import Observers
    from multus.state.journal import Journal
    from multus.state.plugins import Plugins
    from multus.state.record import Failures, Record


def remove_recorded(
    record: Record,
    journal: Journal,
    plugins: Plugins,
    observers: Observers,
    others: Sequence[CNIError] = (),
) -> list[CNIError]:
    """Detach all that *record* names and that may still exist; returns what went wrong.

    The record is deleted when everything is gone.  *others* is what went wrong with delegates that
    a damaged record does not name.
    """
    _note_removal(record, plugins)
    if record.result is None:
        detached = _one_by_one(record, plugins)
    else:
        planned = [(index, record.planned[index]) for index in record.left()]
        detached = plugins.detach(planned, record.done)
    for each in detached:
        observers.detached(each.delegate, each.error, plugins.request, plugins.conf)
    detached = stuck.without_stuck(record, detached, journal, plugins)
    keeps = record.damage and not record.unbegun
    if keeps and not others and not any(each.errors for each in detached):
        aside = journal.set_aside(record.path)
        plugins.log.error(
            f"the journal of {plugins.request} was damaged ({record.damage}): all that it names is"
            f" removed, and it is kept as {aside}"
        )
        return []
    with closing(Writer(record.path)) as writer:
        return settle(detached, writer, others, record.failures)


def _note_removal(record: Record, plugins: Plugins) -> None:
    """Write down that a removal has begun: the record is not finished any more."""
    if record.result is None:
        return
    try:
        with closing(Writer(record.path)) as writer:
            writer.removing()
    except CNIError as error:
        # On a full disk the networks are removed all the same.  A process that is killed now leaves
        # a record that seems finished; the runtime repeats a DEL without an answer.
        plugins.log.error(
            f"the journal does not say that {plugins.request} is being deleted", error=error
        )


def _one_by_one(record: Record, plugins: Plugins) -> list[Detached]:
    """Detach what an earlier removal left, each delegate by itself.

    A delegate may have killed the earlier process, and may kill this one.  So a line is written
    before and after each, and those that failed least often come first.
    """
    found = []
    order = sorted(record.left(), key=lambda index: (_count(record, index), -index))
    with closing(Writer(record.path)) as writer:
        for index in order:
            planned = record.planned[index]
            if index in record.trying and stuck.is_enough(record, index, plugins.request):
                cut_off = DelegateFailed("the process ended in every attempt to remove it")
                found.append(Detached(index, planned.delegate, (cut_off,)))
                continue
            if _count(record, index) < stuck.ENOUGH:
                _try_to_write(partial(writer.trying, index), plugins)
            (one,) = plugins.detach([(index, planned)], record.done)
            if one.error is None:
                _try_to_write(partial(writer.detached, index), plugins)
            found.append(one)
    return found


def _count(record: Record, index: int) -> int:
    """How often removing a delegate failed so far."""
    known = record.failures.get(index)
    return known.times if known is not None else 0


def _try_to_write(write: Callable[[], None], plugins: Plugins) -> None:
    """Write a line that helps the next attempt; on a full disk that goes without it."""
    try:
        write()
    except CNIError as error:
        plugins.log.error(f"the record of {plugins.request} cannot be written", error=error)


def settle(
    detached: Sequence[Detached],
    writer: Writer,
    others: Sequence[CNIError] = (),
    failures: Mapping[int, Failures] = MappingProxyType({}),
) -> list[CNIError]:
    """Delete the record when everything is gone, else write down what is; returns all errors.

    *failures* are the earlier ones; beyond ``stuck.ENOUGH`` they are not counted any further.
    """
    errors = [*(error for each in detached for error in each.errors), *others]
    try:
        if not errors:
            writer.delete()
        for each in detached:
            known = failures.get(each.number)
            if errors and each.error is None:
                writer.detached(each.number)
            elif each.error is not None and (known is None or known.times < stuck.ENOUGH):
                writer.failed(each.number, each.error)
    except CNIError as error:
        # What is gone and still recorded is detached once more the next time: DEL can be repeated.
        errors.append(error)
    return errors


def request_for(record: Record, today: Request) -> Request:
    """The DEL of what *record* names, on behalf of *today*'s request.

    The arguments are those of the ADD, the environment is today's.  Plugins are looked for in
    today's folders first, then in those of the ADD.
    """
    then = record.request
    bin_dir = record.conf.get("binDir")
    folders = (*today.path, *([bin_dir] if isinstance(bin_dir, str) else []), *then.path)
    return evolve(
        today,
        netns=today.netns or liveness.path_for_removal(record),
        path=tuple(dict.fromkeys(folders)),
        args=then.args or today.args,
        environ={**today.environ, **then.environ},
    )


def with_undo_errors(error: CNIError, undoing: Sequence[CNIError]) -> CNIError:
    """*error*, with what could not be undone in its details."""
    if not undoing:
        return error
    return error.detailed(*(f"could not be undone: {each}" for each in undoing))
