"""Calling a verb of an invoker: its errors become CNI's, its time is logged, its version agreed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from multus.api import progress
from multus.api.errors import PASSING, CNIError, IncompatibleVersion, failure, shown
from multus.api.network import Invocation
from multus.api.versions import highest_common

if TYPE_CHECKING:
    from multus.api.invoker import Invoker
    from multus.api.network import Delegate, Plugin

_A = TypeVar("_A")
_T = TypeVar("_T")


def call_verb(invoker: Invoker, verb: Callable[[_A], _T], argument: _A) -> _T:
    """Call *verb* of *invoker*; any exception becomes a ``CNIError``, so that the ADD is undone."""
    started = time.perf_counter()
    try:
        with _step(invoker, argument):
            return verb(argument)
    except (CNIError, *PASSING):
        raise
    except BaseException as error:
        raise failure(f"invoker {invoker.name!r}", error) from error
    finally:
        if verb not in (invoker.prepare, invoker.versions):
            _took(invoker, argument, time.perf_counter() - started)


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
        raise malformed_answer(invoker, "VERSION", known)
    return highest_common(known)


def malformed_answer(invoker: Invoker, verb: str, answer: object) -> CNIError:
    """The error for an answer that the interface of ``Invoker`` does not allow."""
    return CNIError(
        f"invoker {invoker.name!r} answered {verb} with {shown(answer)}",
        fix="report it to its author",
    )


def naming_delegate(error: CNIError, delegate: Delegate, plugin: Plugin) -> CNIError:
    """The same error, with the network, the plugin and the interface before its message."""
    interface = delegate.ifname or "(none)"
    return error.at(f"{delegate}, plugin {plugin.type!r}, interface {interface}")


def _step(invoker: Invoker, argument: object) -> progress.step:
    """The step that the daemon's supervisor watches; a started program has its own time limit."""
    invocations: list[Any] = argument if isinstance(argument, list) else [argument]
    what = f"invoker {invoker.name!r}, {invocations[0]}"
    return progress.step(what, times=max(1, len(invocations)))


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
