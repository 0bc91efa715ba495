"""The engine: parse, resolve networks, order with the primary first, invoke, merge.

Parsing is the front's first step (``multus.stages.parse``); what follows is here, a method a verb.
The order of the stages is fixed; what each does is up to the installed plugins.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from multus.errors import (
    CNIError,
    InvalidConfig,
    NotAvailable,
    StateDamaged,
    TryAgainLater,
    UnknownContainer,
)
from multus.hooks import Observers
from multus.journal import Journal, Planned, Record, Writer
from multus.lock import container_lock
from multus.log import Log
from multus.model.conf import Conf
from multus.model.network import Attachment, Delegate, Outcome
from multus.model.request import Request
from multus.model.result import Result
from multus.plugins import Installed
from multus.stages import invoke, merge, order, parse, resolve, undo
from multus.values import evolve, frozen

#: How long a command waits for another one of the same container, in seconds.
PATIENCE = 60.0


@frozen
class Engine:
    """Carries requests out with the *installed* plugins."""

    installed: Installed
    log: Log

    def add(self, request: Request, conf: Conf) -> Result:
        """Attach the container to every network it is to have, or to none; raises ``CNIError``."""
        with self._working(request, conf) as work:
            parse.validate(conf, self.installed)
            work.journal.prepare()
            with work.locked():
                work.clear()
                with work.stage("resolve"):
                    resolved = resolve.resolve(self.installed, request, conf)
                with work.stage("order"):
                    delegates = order.order(self.installed.hooks, resolved, request, conf)
                with work.intending(delegates) as attempt:
                    with work.stage("invoke"):
                        attachments = attempt.attach()
                    with work.stage("merge"):
                        result = merge.merge(self.installed, attachments, request, conf)
                    work.outcome = evolve(work.outcome, attachments=attachments, result=result)
                    attempt.finish(result)
        return result

    def delete(self, request: Request, conf: Conf) -> None:
        """Detach the container; what is not there is no error.  Needs the journal alone."""
        with self._working(request, conf) as work:
            work.journal.prepare()
            with work.locked():
                errors = work.remove()
                if errors:
                    raise invoke.joined(errors)

    def check(self, request: Request, conf: Conf) -> None:
        """Raise ``CheckFailed``, or a delegate's error, when something is not as recorded."""
        with self._working(request, conf) as work:
            work.journal.prepare()
            with work.locked():
                record = work.journal.find(request.container_id, request.ifname)
                if record is None or record.result is None:
                    raise UnknownContainer(
                        f"{request} with interface {request.ifname!r} has no finished attachment"
                        f" in {conf.cni_dir}: delete and add it again"
                    )
                work.outcome = evolve(work.outcome, attachments=record.attachments())
                invoke.check(record, work.call)

    def status(self, request: Request, conf: Conf) -> None:
        """Raise the first reason why an ADD could not be served now."""
        parse.validate(conf, self.installed)
        for problem in self.installed.hooks.health(conf):
            raise problem
        try:
            resolved = resolve.resolve(self.installed, request, conf)
        except TryAgainLater as error:
            raise NotAvailable(error.msg, error.details) from error
        invoke.status(resolved.delegates, invoke.Call(self.installed, self.log, request, conf))

    def collect_garbage(self, request: Request, conf: Conf) -> None:
        """Remove what belongs to this network and to no valid attachment; continue past errors."""
        if conf.valid_attachments is None:
            raise InvalidConfig(
                "GC without 'cni.dev/valid-attachments' would remove everything: give the list,"
                " which may be empty"
            )
        valid = {(each.container_id, each.ifname) for each in conf.valid_attachments}
        began = time.time()
        with self._working(request, conf) as work:
            work.journal.prepare()
            errors: list[CNIError] = []
            kept: list[Record] = []
            for record in work.records(errors):
                held = (record.request.container_id, record.request.ifname) in valid
                if held or record.started > began:
                    kept.append(record)
                else:
                    errors += self.remove(record, conf)
            errors += invoke.collect_garbage(still_valid(kept), work.call)
            if errors:
                raise invoke.joined(errors)

    def remove(self, record: Record, conf: Conf) -> list[CNIError]:
        """Remove one recorded attachment, as its DEL would; returns what went wrong."""
        work = _Work(self, record.request, conf)
        try:
            with work.locked():
                return work.remove()
        except CNIError as error:
            return [error]

    @contextmanager
    def _working(self, request: Request, conf: Conf) -> Iterator[_Work]:
        work = _Work(self, request, conf)
        try:
            yield work
        except CNIError as error:
            work.outcome = evolve(work.outcome, error=error)
            raise
        finally:
            work.observers.finished(work.outcome, request, conf)


class _Work:
    """One request being carried out: its effects, and what has come of it so far."""

    def __init__(self, engine: Engine, request: Request, conf: Conf) -> None:
        self.log = engine.log.bind(container=request.container_id, pod=str(request.pod or ""))
        self.call = invoke.Call(engine.installed, self.log, request, conf)
        self.journal = Journal(conf.cni_dir)
        self.observers: Observers = engine.installed.hooks.observers(self.log)
        self.outcome = Outcome(request.command)
        self.patience = PATIENCE
        if request.deadline is not None:
            self.patience = max(0.0, min(PATIENCE, request.deadline - time.monotonic()))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude every other command of this container, and its surviving delegates."""
        container_id = self.call.request.container_id
        with container_lock(self.journal.folder, container_id, self.patience) as lock:
            self.call = evolve(self.call, lock=lock)
            yield

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Take the time of a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            self.outcome = evolve(self.outcome, stages={**self.outcome.stages, name: seconds})

    def clear(self) -> None:
        """Undo what an ADD of the same container and interface left when it was cut off."""
        errors = self.remove(configured=False)
        if errors:
            raise undo.with_undo_errors(
                TryAgainLater(
                    f"an earlier attempt for {self.call.request} left attachments that could not"
                    " be removed: see the details, then try again"
                ),
                errors,
            )

    @contextmanager
    def intending(self, delegates: Sequence[Delegate]) -> Iterator[_Attempt]:
        """Write the intent; when what follows fails, undo every delegate that was attempted."""
        planned = invoke.plan(delegates, self.call)
        with self.stage("journal"):
            writer = self.journal.begin(self.call.request, self.call.conf.raw, planned)
        attempt = _Attempt(planned, writer, self.call, self.observers)
        try:
            yield attempt
        except CNIError as error:
            raise undo.with_undo_errors(error, attempt.undo()) from error

    def remove(self, *, configured: bool = True) -> list[CNIError]:
        """Remove what the journal says; without a record, and if *configured*, what stdin says."""
        request = self.call.request
        try:
            record = self.journal.find(request.container_id, request.ifname)
        except StateDamaged as error:
            aside = self.journal.set_aside(request.container_id, request.ifname)
            self.log.error(f"{error.msg}: it is kept as {aside}")
            record = None
        if record is None:
            return self._remove_configured() if configured else []
        # Undoing needs the netns and the arguments of the ADD, in the environment of today.
        environ = {**request.environ, **record.request.environ}
        netns = request.netns or record.request.netns
        recorded = evolve(record.request, command="DEL", netns=netns, environ=environ)
        return undo.remove(
            record, self.journal, evolve(self.call, request=recorded), self.observers
        )

    def _remove_configured(self) -> list[CNIError]:
        """Without a record, what a conf file offers every container can still be removed."""
        request, conf, installed = self.call.request, self.call.conf, self.call.installed
        try:
            resolved = resolve.resolve(installed, request, conf)
            delegates = order.order(installed.hooks, resolved, request, conf)
            planned = invoke.plan(delegates, self.call)
        except CNIError as error:
            self.log.verbose(f"{request} has no record, and none can be made: {error}")
            return []
        detached = invoke.detach(list(enumerate(planned)), {}, self.call)
        for each in detached:
            self.observers.detached(each.delegate, each.error, request, conf)
        return [error for each in detached for error in each.errors]

    def records(self, errors: list[CNIError]) -> list[Record]:
        """The records of this configuration's network; what cannot be read goes to *errors*."""
        found = []
        for each in self.journal.records():
            if isinstance(each, StateDamaged):
                errors.append(each)
            elif each.network == self.call.conf.name:
                found.append(each)
        return found


class _Attempt:
    """An ADD on its way: what was attempted, and what has come of it."""

    def __init__(
        self, planned: tuple[Planned, ...], writer: Writer, call: invoke.Call, observers: Observers
    ) -> None:
        self._planned = planned
        self._writer = writer
        self._call = call
        self._observers = observers
        self._attempted = 0
        self._reached: dict[int, Attachment] = {}

    def attach(self) -> tuple[Attachment, ...]:
        """Invoke every delegate in turn; raises the error of the first that fails."""
        for index, planned in enumerate(self._planned):
            self._attempted = index + 1
            try:
                attachment = invoke.attach(planned, self._call)
            except invoke.Failed as failure:
                self._reached[index] = failure.reached
                raise failure.error from failure
            self._reached[index] = attachment
            self._writer.attached(index, attachment)
            self._observers.attached(attachment, self._call.request, self._call.conf)
        return tuple(self._reached.values())

    def finish(self, result: Result) -> None:
        """Write down that the container has all its networks."""
        self._writer.finished(result)

    def undo(self) -> list[CNIError]:
        """Take down what was attempted; returns what went wrong."""
        attempted = self._planned[: self._attempted]
        return undo.undo(attempted, self._reached, self._writer, self._call, self._observers)


def still_valid(
    records: Sequence[Record],
) -> list[tuple[Delegate, tuple[dict[str, str], ...]]]:
    """For every delegate network in *records*, the attachments that it still has."""
    delegates: dict[str, Delegate] = {}
    valid: dict[str, list[dict[str, str]]] = {}
    for record in records:
        for index in record.left():
            delegate = record.planned[index].delegate
            delegates[delegate.name] = delegate
            valid.setdefault(delegate.name, []).append(
                {"containerID": record.request.container_id, "ifname": delegate.ifname}
            )
    return [(delegates[name], tuple(valid[name])) for name in delegates]
