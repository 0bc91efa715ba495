"""The engine: parse, resolve networks, order with the primary first, invoke, merge.

Parsing is the front's first step (``multus.stages.parse``); what follows is here, a method a verb.
The order of the stages is fixed; what each does is up to the installed plugins.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from attrs import evolve, frozen

from multus import predecessor, verify
from multus.errors import (
    BadEnvironment,
    CNIError,
    DecodingFailure,
    IOFailure,
    NotAvailable,
    StateDamaged,
    TryAgainLater,
    UnknownContainer,
)
from multus.hooks import Observers
from multus.invoker import NothingDone
from multus.journal import Journal, Writer, netns_identity
from multus.lock import collector_lock, container_lock
from multus.log import Log
from multus.model.conf import Conf
from multus.model.network import Attachment, Delegate, Outcome
from multus.model.record import Planned, Record
from multus.model.request import Api, Meter, Request
from multus.model.result import Result
from multus.plugins import Installed
from multus.stages import garbage, invoke, merge, order, parse, resolve, undo

#: How long a command waits for another one of the same container, in seconds.
PATIENCE = 60.0


@frozen
class Engine:
    """Carries requests out with the *installed* plugins.

    ``api``, ``chroot`` and ``meter`` are what a daemon adds to every request.
    """

    installed: Installed
    log: Log
    api: Api | None = None
    chroot: str = ""
    meter: Meter | None = None

    def equipped(self, request: Request) -> Request:
        """*request* with what this engine adds to it."""
        return evolve(request, api=self.api, chroot=self.chroot, meter=self.meter)

    def add(self, request: Request, conf: Conf) -> Result:
        """Attach the container to every network it is to have, or to none; raises ``CNIError``."""
        with self._working(request, conf) as work:
            parse.validate(conf, self.installed)
            work.journal.prepare()
            with work.locked(adding=True):
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
                errors = invoke.check(record, work.call)
                errors += verify.problems(record, request.netns)
                if errors:
                    raise invoke.joined(errors)

    def status(self, request: Request, conf: Conf) -> None:
        """Raise the first reason why an ADD could not be served now."""
        parse.validate(conf, self.installed)
        for problem in self.installed.hooks.health(conf):
            raise problem
        try:
            Journal(conf.cni_dir).prepare()
            resolved = resolve.resolve(self.installed, request, conf)
        except (IOFailure, StateDamaged, TryAgainLater) as error:
            raise NotAvailable(error.msg, error.details) from error
        invoke.status(resolved.delegates, invoke.Call(self.installed, self.log, request, conf))

    def collect_garbage(self, request: Request, conf: Conf) -> None:
        """Remove what belongs to this network and to no valid attachment; continue past errors."""
        valid = garbage.valid_keys(conf)
        began = time.time()
        with self._working(request, conf) as work:
            work.journal.prepare()
            with collector_lock(work.journal.folder, work.patience):
                self._tidy(work.journal)
                found = garbage.sort(work.journal.records(), conf.name, valid, began)
                errors = list(found.errors)
                for record in found.dead:
                    errors += self.remove(record, request, conf)
                left = [record for record in found.dead if work.journal.find(*record.key)]
                kept = [*found.kept, *left, *work.predecessors(valid)]
                errors += garbage.collect(work.call, valid, kept, found.dead)
            if errors:
                raise invoke.joined(errors)

    def remove(self, record: Record, today: Request, conf: Conf) -> list[CNIError]:
        """Remove one recorded attachment, as its DEL would; returns what went wrong.

        *today* says where plugins are now.  One that another command works on is left alone.
        """
        container_id, ifname = record.key
        request = evolve(
            today, command="DEL", container_id=container_id, ifname=ifname, netns="", shared={}
        )
        work = _Work(self, undo.request_of(record, request), conf)
        work.patience = 0.0
        try:
            with work.locked():
                return work.remove()
        except TryAgainLater as error:
            self.log.verbose(f"{work.call.request} is left alone: {error}")
            return []
        except CNIError as error:
            return [error]

    def _tidy(self, journal: Journal) -> None:
        """Remove intents that were never whole, but for those being written now."""
        for container_id, ifname in journal.unborn():
            with suppress(TryAgainLater), container_lock(journal.folder, container_id, 0.0):
                journal.tidy(container_id, ifname)

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
            work.report()


class _Work:
    """One request being carried out: its effects, and what has come of it so far."""

    def __init__(self, engine: Engine, request: Request, conf: Conf) -> None:
        self._started = time.perf_counter()
        self.log = engine.log.bind(container=request.container_id, pod=str(request.pod or ""))
        self.call = invoke.Call(engine.installed, self.log, request, conf)
        self.journal = Journal(conf.cni_dir)
        self.observers: Observers = engine.installed.hooks.observers(self.log)
        self.outcome = Outcome(request.command)
        self.patience = PATIENCE
        if request.deadline is not None:
            self.patience = max(0.0, min(PATIENCE, request.deadline - time.monotonic()))

    def report(self) -> None:
        """Say in the log what came of it, and how long each stage took."""
        seconds, error = time.perf_counter() - self._started, self.outcome.error
        if error is not None:
            self.log.error(self.outcome.command, code=error.number, error=error, duration=seconds)
        else:
            self.log.verbose(self.outcome.command, duration=seconds, stages=self.outcome.stages)

    @contextmanager
    def locked(self, *, adding: bool = False) -> Iterator[None]:
        """Exclude every other command of this container, and its surviving delegates."""
        container_id, folder = self.call.request.container_id, self.journal.folder
        with container_lock(folder, container_id, self.patience, adding=adding) as lock:
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
        """Undo what an ADD of the same container and interface left when it was cut off.

        One that was not is left alone: raises ``BadEnvironment`` while its namespace lives.  After
        a reboot the same container may come with a new one.
        """
        request = self.call.request
        record = self.journal.find(request.container_id, request.ifname)
        netns = netns_identity(request.netns)
        if record and record.result and netns and record.netns_identity == netns:
            raise BadEnvironment(
                f"{request} already has its networks on {request.ifname!r}: DEL it before it is"
                " added again"
            )
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
        invoke.prepare(planned, self.call)
        with self.stage("journal"):
            writer = self.journal.begin(self.call.request, self.call.conf.raw, planned)
        attempt = _Attempt(planned, writer, self.call, self.observers)
        try:
            yield attempt
        except BaseException as error:
            undone = attempt.undo()
            if isinstance(error, CNIError):
                raise undo.with_undo_errors(error, undone) from error
            for each in undone:
                self.log.error("could not be undone", error=each)
            raise

    def remove(self, *, configured: bool = True) -> list[CNIError]:
        """Remove what the journal says; without a record, and if *configured*, what stdin says."""
        request = self.call.request
        self.journal.tidy(request.container_id, request.ifname)
        record = self.journal.find(request.container_id, request.ifname) or self._adopted()
        if record is None:
            return self._remove_configured() if configured else []
        beyond = []
        if not record.complete:
            self.log.error(f"{record.path} does not say all: {record.damage}")
            beyond = self._remove_configured() if configured else []
        recorded = evolve(self.call, request=undo.request_of(record, request))
        return undo.remove(record, self.journal, recorded, self.observers, beyond)

    def _adopted(self) -> Record | None:
        """A record made of what the Go Multus wrote down, if it did."""
        request, conf = self.call.request, self.call.conf
        path = predecessor.path_of(self.journal.folder, request.container_id)
        try:
            planned = predecessor.read(path, request.ifname, conf)
        except DecodingFailure as error:
            self.log.error(f"{error}: it is kept as {self.journal.set_aside(path)}")
            return None
        if planned is None:
            return None
        return self.journal.adopt(path, request, conf.raw, planned)

    def predecessors(self, valid: frozenset[garbage.Key]) -> list[Record]:
        """What the Go Multus wrote down of valid attachments that have no record of ours."""
        found = []
        for container_id, ifname in sorted(valid):
            path = predecessor.path_of(self.journal.folder, container_id)
            with suppress(DecodingFailure):  # then it is not known, and said to be so
                planned = predecessor.read(path, ifname, self.call.conf)
                if planned is not None:
                    request = evolve(self.call.request, container_id=container_id, ifname=ifname)
                    every = dict(enumerate(planned))
                    found.append(Record(path, request, self.call.conf.raw, every, len(every)))
        return found

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


class _Attempt:
    """An ADD on its way: what was attempted, and what has come of it."""

    def __init__(
        self, planned: tuple[Planned, ...], writer: Writer, call: invoke.Call, observers: Observers
    ) -> None:
        self._planned = planned
        self._writer = writer
        self._call = call
        self._observers = observers
        self._attempted: list[Planned] = []
        self._reached: dict[int, Attachment] = {}

    def attach(self) -> tuple[Attachment, ...]:
        """Invoke every delegate in turn; raises the error of the first that fails."""
        for index, planned in enumerate(self._planned):
            self._attempted.append(planned)
            try:
                attachment = invoke.attach(planned, self._call, partial(self._come, index))
            except CNIError as error:
                self._attempted[index] = self._begun(index, error)
                raise
            self._observers.attached(attachment, self._call.request, self._call.conf)
        return tuple(self._reached.values())

    def _come(self, index: int, attachment: Attachment) -> None:
        self._reached[index] = attachment
        self._writer.attached(index, attachment)

    def _begun(self, index: int, error: CNIError) -> Planned:
        """The part of a chain that was begun when *error* ended it."""
        planned, reached = self._planned[index], self._reached.get(index)
        done = len(reached.versions) if reached else 0
        begun = done if isinstance(error, NothingDone) else done + 1
        return evolve(planned, steps=planned.steps[:begun])

    def finish(self, result: Result) -> None:
        """Write down that the container has all its networks."""
        self._writer.finished(result)

    def undo(self) -> list[CNIError]:
        """Take down what was attempted; returns what went wrong."""
        return undo.undo(self._attempted, self._reached, self._writer, self._call, self._observers)
