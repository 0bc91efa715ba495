"""One request being carried out: its lock, its journal, and what has come of it so far.

The engine (``multus.engine.pipeline``) says what is done and in which order; this has the effects.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api import keys, progress
from multus.api.errors import BadEnvironment, CNIError, DecodingFailure, TryAgainLater
from multus.api.invoker import NothingDone
from multus.api.network import Attachment, Delegate, Outcome
from multus.engine import invoke, order, resolve
from multus.state import undo
from multus.state.journal import Journal, netns_identity
from multus.state.lock import container_lock
from multus.state.record import Planned, Record
from multus.state.recordfile import Writer

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.request import Request
    from multus.api.result import Result
    from multus.log import Log
    from multus.registry.discovery import Installed
    from multus.registry.hooks import Observers

#: How long a command waits for another one of the same container, in seconds.
PATIENCE = 60.0


class Work:
    """One request being carried out: its effects, and what has come of it so far."""

    def __init__(self, installed: Installed, log: Log, request: Request, conf: Conf) -> None:
        self._started = time.perf_counter()
        self.log = log.bind(container=request.container_id, pod=str(request.pod or ""))
        self.call = invoke.Call(installed, self.log, request, conf, chosen={})
        self.journal = Journal(conf.cni_dir)
        self.observers: Observers = installed.hooks.observers(self.log)
        self._stages: dict[str, float] = {}
        self.outcome = Outcome(request.command, stages=self._stages)
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
            self.call = self.call._replace(lock=lock)
            yield

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Take the time of a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._stages[name] = time.perf_counter() - started

    def clear(self) -> None:
        """Undo what an ADD of the same container and interface left when it was cut off.

        One that was not is left alone: raises ``BadEnvironment`` while its namespace lives.  After
        a reboot the same container may come with a new one.
        """
        request, record = self.call.request, self._record()
        if record is None:
            return
        netns = netns_identity(request.netns)
        if record.result and netns and record.netns_identity == netns:
            raise BadEnvironment(
                f"{request} already has its networks on {request.ifname!r}: DEL it before it is"
                " added again"
            )
        errors = self._remove_recorded(record, configured=False)
        if errors:
            raise undo.with_undo_errors(
                TryAgainLater(
                    f"an earlier attempt for {self.call.request} left attachments that could not"
                    " be removed: see the details, then try again"
                ),
                errors,
            )

    @contextmanager
    def intending(self, delegates: Sequence[Delegate]) -> Iterator[Attempt]:
        """Write the intent; when what follows fails, undo every delegate that was attempted."""
        planned = invoke.plan(delegates, self.call)
        invoke.prepare(planned, self.call)
        with self.stage("journal"):
            table = (*keys.OWN, *self.call.installed.hooks.configuration_keys())
            conf = keys.kept(self.call.conf.raw, table)
            writer = self.journal.begin(self.call.request, conf, planned)
        attempt = Attempt(planned, writer, self.call, self.observers)
        try:
            yield attempt
        except BaseException as error:
            with progress.step(f"undoing an ADD that came to {attempt.reached}"):
                undone = attempt.undo()
            if isinstance(error, CNIError):
                told = undo.with_undo_errors(error, undone)
                raise told from (error if told is not error else error.__cause__)
            for each in undone:
                self.log.error("could not be undone", error=each)
            raise
        finally:
            writer.close()

    def remove(self) -> list[CNIError]:
        """Remove what the journal says; without a record, what the configuration says."""
        record, request = self._record(), self.call.request
        if record is None and self.journal.is_stuck(request.container_id, request.ifname):
            self.log.verbose(f"{request} has no record but that of what was given up")
            return []
        if record is None:
            return self._remove_configured()
        return self._remove_recorded(record, configured=True)

    def recover(self) -> list[CNIError]:
        """Remove what an unfinished record says; a finished one is a living container's."""
        record = self._record()
        if record is None or record.result is not None:
            return []
        return self._remove_recorded(record, configured=False)

    def _record(self) -> Record | None:
        """The record of this container and interface, or one made of a predecessor's."""
        request = self.call.request
        self.journal.tidy(request.container_id, request.ifname)
        return self.journal.find(request.container_id, request.ifname) or self._adopted()

    def _remove_recorded(self, record: Record, *, configured: bool) -> list[CNIError]:
        """Remove what *record* says; where it lacks something, if *configured*, what stdin says."""
        beyond = []
        if not record.complete:
            self.log.error(f"{record.path} does not say all: {record.damage}")
            beyond = self._remove_configured() if configured else []
        recorded = self.call._replace(request=undo.request_of(record, self.call.request))
        return undo.remove(record, self.journal, recorded, self.observers, beyond)

    def _adopted(self) -> Record | None:
        """A record made of what the Go Multus wrote down, if it did."""
        request, conf = self.call.request, self.call.conf
        path = os.path.join(self.journal.folder, request.container_id)
        if not os.path.lexists(path):
            return None
        from multus.state import predecessor

        try:
            planned = predecessor.read(path, request.ifname, conf)
        except DecodingFailure as error:
            self.log.error(f"{error}: it is kept as {self.journal.set_aside(path)}")
            return None
        if planned is None:
            return None
        # A DEL does not ask plugins for their keys.
        return self.journal.adopt(path, request, keys.kept(conf.raw, keys.OWN), planned)

    def predecessors(self, valid: frozenset[tuple[str, str]]) -> list[Record]:
        """What the Go Multus wrote down of valid attachments that have no record of ours."""
        from multus.state import predecessor

        found = []
        for container_id, ifname in sorted(valid):
            path = predecessor.path_of(self.journal.folder, container_id)
            with suppress(CNIError):  # then it is not known, and said to be so
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


class Attempt:
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

    @property
    def reached(self) -> str:
        """The delegate that was attempted last, for messages."""
        return str(self._attempted[-1].delegate if self._attempted else "no network")

    def undo(self) -> list[CNIError]:
        """Take down what was attempted; returns what went wrong."""
        return undo.undo(
            self._planned,
            self._attempted,
            self._reached,
            self._writer,
            self._call,
            self._observers,
        )
