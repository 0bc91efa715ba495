"""Calling a verb of an invoker: its errors become CNI's, its time is logged, its version agreed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from multus.api import progress
from multus.api.errors import PASSING, CNIError, IncompatibleVersion, failure, shown
from multus.api.network import Invocation
from multus.api.progress import Task
from multus.api.versions import highest_common

if TYPE_CHECKING:
    from multus.api.invoker import Invoker
    from multus.api.network import Delegate, Plugin

_A = TypeVar("_A")
_T = TypeVar("_T")


def call_verb(invoker: Invoker, verb: Callable[[_A], _T], argument: _A) -> _T:
    """Call *verb* of *invoker*; any exception becomes a ``CNIError``, so that the ADD is undone."""
    asks = verb in (invoker.prepare, invoker.versions)
    started = time.perf_counter()
    try:
        with _step(invoker, argument, verb.__name__ if asks else ""):
            return verb(argument)
    except (CNIError, *PASSING):
        raise
    except BaseException as error:
        raise failure(f"invoker {invoker.name!r} of {type(invoker).__module__}", error) from error
    finally:
        if not asks:
            _took(invoker, argument, time.perf_counter() - started)


def carry_out(
    invoker: Invoker, verb: Callable[[Invocation], object], invocation: Invocation
) -> None:
    """Call a *verb* that answers nothing; an answer that it gives all the same is an error."""
    require_no_answer(invoker, verb, call_verb(invoker, verb, invocation))


def require_no_answer(
    invoker: Invoker, verb: Callable[[Invocation], object], answer: object
) -> None:
    """Raise for an answer where none is due: it may be an error that was returned, not raised."""
    if answer is not None:
        raise malformed_answer(invoker, verb.__name__, answer, "return nothing, and raise errors")


def call_in_common_version(
    invoker: Invoker, invocation: Invocation, verb: Callable[[Invocation], _T]
) -> tuple[_T, str]:
    """Call *verb*; when the CNI version is refused, once more in the newest that both sides know.

    Returns the answer and the version that was used.
    """
    try:
        return call_verb(invoker, verb, invocation), invocation.cni_version
    except IncompatibleVersion as refusal:
        version = common_version(invoker, invocation)
        if version is None or version == invocation.cni_version:
            raise
        invocation.log.verbose(f"{invocation}: {refusal}: version {version} is used instead")
        return call_verb(invoker, verb, invocation.at(version)), version


def common_version(invoker: Invoker, invocation: Invocation) -> str | None:
    """The newest CNI version that both sides know; None when there is none."""
    known = call_verb(invoker, invoker.versions, invocation)
    texts = isinstance(known, list | tuple | set | frozenset) and all(
        isinstance(each, str) for each in known
    )
    if not texts:
        raise malformed_answer(invoker, "versions", known, "return a list of versions")
    return highest_common(known)


def delete(invoker: Invoker, invocations: list[Invocation]) -> Sequence[CNIError | None]:
    """DEL of neighbouring attachments by one invoker; returns each one's error, or None."""
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


def malformed_answer(invoker: Invoker, verb: str, answer: object, fix: str) -> CNIError:
    """The error for an answer that the interface of ``Invoker`` does not allow; *fix* is for it."""
    return malformed(invoker, verb, shown(answer), fix)


def malformed(invoker: Invoker, verb: str, what: str, fix: str) -> CNIError:
    """The same for an answer that is described already."""
    return CNIError(
        f"invoker {invoker.name!r} of {type(invoker).__module__}: {verb} returned {what}",
        fix=f"report it to its author, who has to {fix}",
    )


def naming_delegate(error: CNIError, delegate: Delegate, plugin: Plugin) -> CNIError:
    """The same error, with the network, the plugin and the interface before its message."""
    interface = delegate.ifname or "(none)"
    return error.at(f"{delegate}, plugin {plugin.type!r}, interface {interface}")


def _step(invoker: Invoker, argument: object, verb: str) -> progress.step:
    """The step that the daemon's supervisor watches; a started program has its own time limit.

    *verb* is empty when it is that of the invocation.
    """
    invocations: list[Any] = argument if isinstance(argument, list) else [argument]
    first = invocations[0]
    return progress.step(
        f"invoker {invoker.name!r}, {first}",
        times=max(1, len(invocations)),
        task=Task(invoker.name, verb or first.verb),
    )


def _took(invoker: Invoker, argument: object, seconds: float) -> None:
    """Tell the log and the meter; the time of a joint DEL is divided equally."""
    invocations = argument if isinstance(argument, list) else [argument]
    for each in invocations:
        assert isinstance(each, Invocation)
        share = seconds / len(invocations)
        each.log.verbose(
            each.verb, delegate=each.delegate.name, invoker=invoker.name, duration=share
        )
        if each.session.meter is not None:
            each.session.meter(each.verb, each.plugin.type, share)
