"""Detach: DEL of delegates' chains, backwards, continuing past errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from attrs import evolve

from multus.api.errors import CNIError, attempted
from multus.api.invoker import Invoker
from multus.api.network import Attachment, Delegate, Invocation
from multus.engine.invoke.calling import delete, naming_delegate
from multus.engine.invoke.plan import invoker_of
from multus.state.plugins import Detached

if TYPE_CHECKING:
    from multus.engine.invoke.call import Call
    from multus.state.record import Planned, Step


class _Removal(NamedTuple):
    """DEL of one plugin of delegate *number*: its invoker, or why there is none."""

    number: int
    invocation: Invocation
    invoker: Invoker | None
    error: CNIError | None = None


def detach(
    planned: Sequence[tuple[int, Planned]], done: Mapping[int, Attachment], call: Call
) -> list[Detached]:
    """Carry out DEL of delegates, the last first, each chain backwards; continue past errors.

    *planned* is in the order of invocation, each with its index; *done* has what ADD made of them.
    Neighbours that one invoker serves are given to it together: the kernel can delete many links in
    the time of one.
    """
    removals = [
        _removal(index, each.delegate, step, place, done.get(index), call)
        for index, each in reversed(planned)
        for place, step in reversed(list(enumerate(each.steps)))
        if not step.leaves_nothing
    ]
    found = {index: Detached(index, each.delegate) for index, each in reversed(planned)}
    for together in _runs(removals, _prepared_alike):
        common = _before(together)
        for neighbours in _runs(together, _same):
            started, clock = time.time(), time.perf_counter()
            errors = _delete(neighbours)
            share = (time.perf_counter() - clock) / len(neighbours) + common / len(together)
            for removal, error in zip(neighbours, errors, strict=True):
                found[removal.number] = _with_step(
                    found[removal.number], removal, error, started, share
                )
    _forget_devices([each.delegate for _, each in planned], call)
    return list(found.values())


def _forget_devices(delegates: Sequence[Delegate], call: Call) -> None:
    """Remove the device information of the attachments, whether their DEL succeeded or not.

    It describes what was attached, and no DEL reads it.
    """
    for each in delegates:
        if not each.device_info:
            continue
        from multus.api import deviceinfo

        try:
            deviceinfo.remove(each.device_info)
        except OSError as error:
            call.log.error(f"{each}: its device information is not removed", error=error)


def _with_step(
    known: Detached, removal: _Removal, error: CNIError | None, started: float, seconds: float
) -> Detached:
    """*known* with how one more step of the chain ended."""
    errors = known.errors
    if error is not None:
        invocation = removal.invocation
        errors = (*errors, naming_delegate(error, invocation.delegate, invocation.plugin))
    return Detached(
        known.number,
        known.delegate,
        errors,
        started=known.started or started,
        seconds=known.seconds + seconds,
    )


def _removal(
    index: int,
    delegate: Delegate,
    step: Step,
    place: int,
    attachment: Attachment | None,
    call: Call,
) -> _Removal:
    versions = () if attachment is None else attachment.versions
    if place >= len(versions) and delegate.args:
        # Its ADD did not succeed, perhaps because of the requested arguments; its DEL must.
        from multus.engine import requests

        delegate = requests.without_arguments(delegate)
    invocation = call.invocation("DEL", delegate, step.plugin, step.config)
    if attachment is not None and versions:
        # CNI 1.1: DEL gets the final result of ADD, in the CNI version of that ADD.
        invocation = evolve(invocation, prev_result=attachment.result)
        if place < len(versions):
            invocation = invocation.at(versions[place])
    try:
        return _Removal(index, invocation, invoker_of(step, delegate, call))
    except CNIError as error:
        return _Removal(index, invocation, None, error)


def _runs(
    removals: Sequence[_Removal], alike: Callable[[Invoker, Invoker], bool]
) -> list[list[_Removal]]:
    """Neighbours whose invokers are alike, together."""
    groups: list[list[_Removal]] = []
    for each in removals:
        before = groups[-1][0].invoker if groups else None
        if before is not None and each.invoker is not None and alike(before, each.invoker):
            groups[-1].append(each)
        else:
            groups.append([each])
    return groups


def _same(one: Invoker, other: Invoker) -> bool:
    return type(one) is type(other) and one.name == other.name


def _prepared_alike(one: Invoker, other: Invoker) -> bool:
    shared = one.before_delete is other.before_delete
    return _same(one, other) or (shared and one.before_delete is not Invoker.before_delete)


def _before(together: Sequence[_Removal]) -> float:
    """Let invokers of several kinds do what they do in common; returns the seconds it took."""
    kinds = {type(each.invoker) for each in together}
    if len(kinds) < 2:
        return 0.0
    clock = time.perf_counter()
    deletions = [(each.invoker, each.invocation) for each in together if each.invoker is not None]
    error = attempted("deleting in common", deletions[0][0].before_delete, deletions)
    if error is not None:
        deletions[0][1].log.verbose("attachments are deleted one by one", error=error)
    return time.perf_counter() - clock


def _delete(neighbours: Sequence[_Removal]) -> Sequence[CNIError | None]:
    invoker = neighbours[0].invoker
    if invoker is None:
        return [neighbours[0].error]
    return delete(invoker, [each.invocation for each in neighbours])
