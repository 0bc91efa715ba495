"""Invoke: choose who carries each plugin out, and do it, one delegate after the other.

Attachments of one container are not made in parallel (NPWG 1.3, section 7.3).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from attrs import evolve

from multus.api import progress
from multus.api.delegates import handed_on
from multus.api.errors import PASSING, CNIError, IncompatibleVersion, InvalidConfig, failure, shown
from multus.api.invoker import Declined, Invoker
from multus.api.network import Attachment, Delegate, Invocation, Plugin, Provenance
from multus.api.result import Result
from multus.api.versions import highest_common
from multus.engine.permit import withheld, without
from multus.engine.resolve import missing_plugin
from multus.state.record import Planned, Step

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.request import Request
    from multus.log import Log
    from multus.registry.discovery import Installed
    from multus.state.record import Record

_A = TypeVar("_A")
_T = TypeVar("_T")


class Call(NamedTuple):
    """What the carrying out of one request needs: who asks, with what, and who can do it.

    ``lock`` is the descriptor of the container's lock, which started plugins inherit.  ``chosen``
    has the invokers of what was planned, by the ``id`` of the step, which stands beside it.
    """

    installed: Installed
    log: Log
    request: Request
    conf: Conf
    lock: int | None = None
    chosen: dict[int, tuple[Step, Invoker]] | None = None

    def invocation(
        self,
        verb: str,
        delegate: Delegate,
        plugin: Plugin,
        config: Mapping[str, object],
        prev_result: Result | None = None,
    ) -> Invocation:
        return Invocation(
            verb=verb,
            delegate=delegate,
            plugin=plugin,
            config=config,
            request=self.request,
            conf=self.conf,
            log=self.log.bind(network=delegate.label, ifname=delegate.ifname, type=plugin.type),
            prev_result=prev_result,
            inherited=() if self.lock is None else (self.lock,),
        )


class Choice(NamedTuple):
    """The invoker that carries a plugin out, and what the passed-over ones said."""

    invoker: Invoker
    declined: tuple[Declined, ...] = ()


def choose(
    installed: Installed, plugin: Plugin, delegate: Delegate, conf: Conf, *, strict: bool = True
) -> Choice:
    """Who carries *plugin* out.

    Its own wish first; then the first that offers itself.  With *strict*, a wish that nobody
    fulfils is an error; without (DEL, CHECK, GC) the next best does it, since in-process invokers
    and binaries share their stores.  Raises ``MissingPlugin``.
    """
    offers: list[Invoker] = []
    declined: list[Declined] = []
    for each in installed.hooks.invokers(plugin, delegate, conf):
        if isinstance(each, Declined):
            declined.append(each)
        elif plugin.invoker in ("", each.name):
            return Choice(each, tuple(declined))
        else:
            offers.append(each)
    if plugin.invoker and strict:
        refused = next((no for no in declined if no.invoker == plugin.invoker), None)
        if refused is not None:
            raise InvalidConfig(
                f"{delegate}: invoker {plugin.invoker!r} cannot serve it: {refused.reason}:"
                " correct that, or do not ask for this invoker"
            )
        raise missing_plugin(
            f"is the invoker {plugin.invoker!r} that {delegate} asks for",
            f"multus-invoker-{plugin.invoker}",
            installed,
        )
    if not offers:
        raise missing_plugin(
            f"carries out type {plugin.type!r} of {delegate}", "multus-invoker-exec", installed
        )
    return Choice(offers[0], tuple(declined))


def plan(delegates: Sequence[Delegate], call: Call) -> tuple[Planned, ...]:
    """What is about to be done, for the journal: every plugin's exact configuration."""
    return tuple(_plan_one(delegate, call) for delegate in delegates)


def _plan_one(delegate: Delegate, call: Call) -> Planned:
    steps = []
    for plugin in delegate.plugins:
        choice = choose(call.installed, plugin, delegate, call.conf)
        for each in choice.declined:
            call.log.verbose(
                f"{delegate}: {each.invoker} leaves type {plugin.type!r} to"
                f" {choice.invoker.name}: {each.reason}"
            )
        kept = _kept(plugin, delegate, choice.invoker, call)
        name = choice.invoker.name
        config = handed_on(delegate, kept, call.conf)
        step = Step(Plugin(kept.config, name), config, name, choice.invoker.leaves_nothing)
        steps.append(step)
        if call.chosen is not None:
            call.chosen[id(step)] = step, choice.invoker
    return Planned(_with_places(delegate, call.conf), tuple(steps))


def _kept(plugin: Plugin, delegate: Delegate, invoker: Invoker, call: Call) -> Plugin:
    """*plugin* with what its writer may tell *invoker*.

    The journal gets the same, so that DEL and CHECK look where ADD did.
    """
    keys = withheld(plugin, delegate, invoker.node_keys)
    for key in keys:
        call.log.verbose(
            f"{delegate}: key {key!r} of type {plugin.type!r} is for the owner of the node:"
            f" {invoker.name} does without it"
        )
    return without(plugin, keys)


def _with_places(delegate: Delegate, conf: Conf) -> Delegate:
    """*delegate* with the places that are open to tenants now, for the journal."""
    if delegate.provenance is Provenance.NODE:
        return delegate
    return evolve(delegate, tenant_paths=conf.tenant_paths)


def prepare(planned: Sequence[Planned], call: Call) -> None:
    """Ask every invoker whether its part can be begun; raises the first reason why not."""
    for each in planned:
        for step in each.steps:
            try:
                invoker = _invoker(step, each.delegate, call)
                invocation = call.invocation("ADD", each.delegate, step.plugin, step.config)
                _safely(invoker, invoker.prepare, invocation)
            except CNIError as error:
                raise told_of(error, each.delegate, step.plugin) from error


# --- ADD -----------------------------------------------------------------------------------------


def attach(
    planned: Planned, call: Call, reached: Callable[[Attachment], None] = lambda _: None
) -> Attachment:
    """Carry out ADD of one delegate's chain; each plugin gets the result of the one before.

    *reached* is told after every step how far the chain has come.
    """
    started = time.perf_counter()
    attachment = Attachment(planned.delegate)
    for step in planned.steps:
        try:
            invoker = _invoker(step, planned.delegate, call)
            before = attachment.result if attachment.versions else None
            invocation = call.invocation("ADD", planned.delegate, step.plugin, step.config, before)
            result, version = _negotiated(invoker, invocation, invoker.add)
            if not isinstance(result, Result):
                raise _nonsense(invoker, "ADD", result)
        except CNIError as error:
            raise told_of(error, planned.delegate, step.plugin) from error
        attachment = Attachment(
            planned.delegate,
            result=result,
            versions=(*attachment.versions, version),
            invokers=(*attachment.invokers, invoker.name),
            seconds=time.perf_counter() - started,
        )
        reached(attachment)
    return attachment


def _invoker(step: Step, delegate: Delegate, call: Call) -> Invoker:
    known = call.chosen.get(id(step)) if call.chosen else None
    if known is not None:
        return known[1]
    return choose(call.installed, step.plugin, delegate, call.conf, strict=False).invoker


def _negotiated(
    invoker: Invoker, invocation: Invocation, verb: Callable[[Invocation], _T]
) -> tuple[_T, str]:
    """Call *verb*, once more in the newest version that both know if the first is refused."""
    try:
        return _safely(invoker, verb, invocation), invocation.cni_version
    except IncompatibleVersion as refusal:
        version = _common_version(invoker, invocation)
        if version is None or version == invocation.cni_version:
            raise
        invocation.log.verbose(f"{invocation}: {refusal}: spoken to in version {version} instead")
        return _safely(invoker, verb, invocation.at(version)), version


def _safely(invoker: Invoker, verb: Callable[[_A], _T], argument: _A) -> _T:
    """Call a verb of an invoker; what is no error of ours becomes one, so that it is undone."""
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


def _step(invoker: Invoker, argument: object) -> progress.step:
    """What is carried out, for whoever watches; a program that is started has its own limit."""
    invocations: list[Any] = argument if isinstance(argument, list) else [argument]
    what = f"invoker {invoker.name!r}, {invocations[0]}"
    return progress.step(what, times=max(1, len(invocations)))


def _common_version(invoker: Invoker, invocation: Invocation) -> str | None:
    """The newest version that both sides know; None when there is none."""
    known = _safely(invoker, invoker.versions, invocation)
    texts = isinstance(known, list | tuple | set | frozenset) and all(
        isinstance(each, str) for each in known
    )
    if not texts:
        raise _nonsense(invoker, "VERSION", known)
    return highest_common(known)


def _nonsense(invoker: Invoker, verb: str, answer: object) -> CNIError:
    return CNIError(
        f"invoker {invoker.name!r} answered {verb} with {shown(answer)}: report it to its author"
    )


def _took(invoker: Invoker, argument: object, seconds: float) -> None:
    """Tell the log and the meter; what was done together is counted in equal parts."""
    invocations = argument if isinstance(argument, list) else [argument]
    for each in invocations:
        assert isinstance(each, Invocation)
        share = seconds / len(invocations)
        each.log.verbose(
            each.verb, delegate=each.delegate.name, invoker=invoker.name, duration=share
        )
        if each.request.meter is not None:
            each.request.meter(each.verb, each.plugin.type, share)


def told_of(error: CNIError, delegate: Delegate, plugin: Plugin) -> CNIError:
    """The same error with the delegate named."""
    interface = delegate.ifname or "(none)"
    return error.at(f"{delegate}, plugin {plugin.type!r}, interface {interface}")


# --- DEL -----------------------------------------------------------------------------------------


class _Removal(NamedTuple):
    """One plugin of one delegate, on its way out."""

    number: int
    invoker: Invoker | None
    invocation: Invocation
    error: CNIError | None = None


class Detached(NamedTuple):
    """How removing one delegate ended: ``errors`` is empty when it is gone."""

    number: int
    delegate: Delegate
    errors: tuple[CNIError, ...] = ()

    @property
    def error(self) -> CNIError | None:
        """All errors in one, or None."""
        return joined(self.errors) if self.errors else None


def detach(
    planned: Sequence[tuple[int, Planned]], done: Mapping[int, Attachment], call: Call
) -> list[Detached]:
    """Carry out DEL of delegates, the last first, each chain backwards; continue past errors.

    *planned* is in order of invocation with each one's index.  Neighbours that one invoker serves
    are handed to it together, so that it can spare the kernel's waiting.
    """
    removals = [
        _removal(index, each.delegate, step, place, done.get(index), call)
        for index, each in reversed(planned)
        for place, step in reversed(list(enumerate(each.steps)))
        if not step.leaves_nothing
    ]
    errors: dict[int, list[CNIError]] = {index: [] for index, _ in planned}
    for neighbours in _neighbours(removals):
        for removal, error in zip(neighbours, _remove(neighbours), strict=True):
            if error is not None:
                invocation = removal.invocation
                errors[removal.number].append(
                    told_of(error, invocation.delegate, invocation.plugin)
                )
    return [Detached(i, each.delegate, tuple(errors[i])) for i, each in reversed(planned)]


def _removal(
    index: int,
    delegate: Delegate,
    step: Step,
    place: int,
    attachment: Attachment | None,
    call: Call,
) -> _Removal:
    invocation = call.invocation("DEL", delegate, step.plugin, step.config)
    if attachment is not None and attachment.versions:
        # CNI 1.1: DEL gets the final result of ADD, in the version that ADD was spoken in.
        invocation = evolve(invocation, prev_result=attachment.result)
        if place < len(attachment.versions):
            invocation = invocation.at(attachment.versions[place])
    try:
        return _Removal(index, _invoker(step, delegate, call), invocation)
    except CNIError as error:
        return _Removal(index, None, invocation, error)


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


def _remove(neighbours: Sequence[_Removal]) -> Sequence[CNIError | None]:
    invoker = neighbours[0].invoker
    if invoker is None:
        return [neighbours[0].error]
    invocations = [each.invocation for each in neighbours]
    return [
        _again(invoker, invocation, error) if isinstance(error, IncompatibleVersion) else error
        for invocation, error in zip(invocations, _deleted(invoker, invocations), strict=True)
    ]


def _deleted(invoker: Invoker, invocations: list[Invocation]) -> Sequence[CNIError | None]:
    """An answer for each invocation, whatever the invoker does.

    Where it fails for all of them, each is deleted by itself: one bad configuration must not cost
    its neighbours.
    """
    try:
        answers = _safely(invoker, invoker.delete, invocations)
        if _fits(answers, len(invocations)):
            return answers
        error = _nonsense(invoker, "DEL", answers)
    except CNIError as caught:
        error = caught
    if len(invocations) == 1:
        return [error]
    return [_deleted(invoker, [each])[0] for each in invocations]


def _fits(answers: object, count: int) -> bool:
    return (
        isinstance(answers, list | tuple)
        and len(answers) == count
        and all(each is None or isinstance(each, CNIError) for each in answers)
    )


def _again(invoker: Invoker, invocation: Invocation, error: IncompatibleVersion) -> CNIError | None:
    try:
        version = _common_version(invoker, invocation)
    except CNIError as second:
        return second
    if version is None or version == invocation.cni_version:
        return error
    return _deleted(invoker, [invocation.at(version)])[0]


# --- CHECK, STATUS, GC ---------------------------------------------------------------------------


def check(record: Record, call: Call) -> list[CNIError]:
    """Carry out CHECK of every attachment of *record* with its own result as prevResult.

    Returns what is wrong.
    """
    errors = []
    for index in record.standing():
        planned, attachment = record.planned[index], record.done[index]
        delegate = planned.delegate
        if delegate.disable_check:
            continue
        for step, version in zip(planned.steps, attachment.versions, strict=True):
            try:
                invoker = _invoker(step, delegate, call)
                invocation = call.invocation("CHECK", delegate, step.plugin, step.config)
                invocation = evolve(invocation.at(version), prev_result=attachment.result)
                _safely(invoker, invoker.check, invocation)
            except CNIError as error:
                errors.append(told_of(error, delegate, step.plugin))
    return errors


def status(delegates: Sequence[Delegate], call: Call) -> None:
    """Ask every delegate's plugins for their STATUS; raises the first error as it is.

    A plugin that does not know the verb is well (CNI 1.1: STATUS came with 1.1.0).
    """
    for delegate in delegates:
        for plugin in delegate.plugins:
            invoker = choose(call.installed, plugin, delegate, call.conf).invoker
            kept = _kept(plugin, delegate, invoker, call)
            config = handed_on(delegate, kept, call.conf)
            _safely(invoker, invoker.status, call.invocation("STATUS", delegate, kept, config))


def collect_garbage(
    delegates: Sequence[tuple[Delegate, tuple[Mapping[str, str], ...]]], call: Call
) -> list[CNIError]:
    """Hand each network's valid attachments to its plugins' GC; returns what went wrong."""
    errors = []
    for delegate, valid in delegates:
        if delegate.disable_gc:
            continue
        for plugin in delegate.plugins:
            try:
                invoker = choose(call.installed, plugin, delegate, call.conf, strict=False).invoker
                kept = _kept(plugin, delegate, invoker, call)
                config = handed_on(delegate, kept, call.conf)
                invocation = call.invocation("GC", delegate, kept, config)
                _safely(invoker, invoker.gc, evolve(invocation, valid_attachments=valid))
            except CNIError as error:
                errors.append(told_of(error, delegate, plugin))
    return errors


def joined(errors: Sequence[CNIError]) -> CNIError:
    """One error out of several: the first's code and message, the others in its details."""
    first = errors[0]
    if len(errors) == 1:
        return first
    return first.detailed(*map(str, errors[1:]))
