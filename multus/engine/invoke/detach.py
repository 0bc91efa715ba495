"""Detach: DEL of delegates' chains, backwards, continuing past errors."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from attrs import evolve

from multus.api.errors import CNIError, IncompatibleVersion
from multus.api.network import Attachment, Delegate, Invocation
from multus.engine.invoke.calling import (
    call_verb,
    common_version,
    malformed_answer,
    naming_delegate,
)
from multus.engine.invoke.plan import invoker_of
from multus.state.plugins import Detached

if TYPE_CHECKING:
    from multus.api.invoker import Invoker
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
    for neighbours in _neighbours(removals):
        started, clock = time.time(), time.perf_counter()
        errors = _delete(neighbours)
        share = (time.perf_counter() - clock) / len(neighbours)
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


def _neighbours(removals: Sequence[_Removal]) -> list[list[_Removal]]:
    groups: list[list[_Removal]] = []
    for each in removals:
        if groups and each.invoker is not None and _same(groups[-1][0].invoker, each.invoker):
            groups[-1].append(each)
        else:
            groups.append([each])
    return groups


def _same(one: Invoker | None, other: Invoker) -> bool:
    return type(one) is type(other) and one is not None and one.name == other.name


def _delete(neighbours: Sequence[_Removal]) -> Sequence[CNIError | None]:
    invoker = neighbours[0].invoker
    if invoker is None:
        return [neighbours[0].error]
    invocations = [each.invocation for each in neighbours]
    return [
        _in_common_version(invoker, invocation, error)
        if isinstance(error, IncompatibleVersion)
        else error
        for invocation, error in zip(invocations, _answers(invoker, invocations), strict=True)
    ]


def _answers(invoker: Invoker, invocations: list[Invocation]) -> Sequence[CNIError | None]:
    """An answer for each invocation, whatever the invoker does.

    When the joint call fails, each is deleted by itself: one bad configuration must not keep its
    neighbours from being deleted.
    """
    try:
        answers = call_verb(invoker, invoker.delete, invocations)
        if _fits(answers, len(invocations)):
            return answers
        fix = "return a list with an error or None for each invocation"
        error = malformed_answer(invoker, "delete", answers, fix)
    except CNIError as caught:
        error = caught
    if len(invocations) == 1:
        return [error]
    return [_answers(invoker, [each])[0] for each in invocations]


def _fits(answers: object, count: int) -> bool:
    return (
        isinstance(answers, list | tuple)
        and len(answers) == count
        and all(each is None or isinstance(each, CNIError) for each in answers)
    )


def _in_common_version(
    invoker: Invoker, invocation: Invocation, refusal: IncompatibleVersion
) -> CNIError | None:
    """Delete once more in a version that both sides know; returns the error, or None."""
    try:
        version = common_version(invoker, invocation)
    except CNIError as error:
        return error
    if version is None or version == invocation.cni_version:
        return refusal
    return _answers(invoker, [invocation.at(version)])[0]
