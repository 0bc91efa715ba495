"""One request while it is served: its call, the times of its stages, and its outcome."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api import progress
from multus.api.network import Outcome
from multus.engine.invoke.carrier import Carrier
from multus.log import outcome as said
from multus.state import transaction
from multus.state.transaction import PATIENCE, Transaction

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Attachment, Changes
    from multus.api.request import Request
    from multus.api.session import Session
    from multus.log import Log
    from multus.registry.hooks import Observers
    from multus.registry.loading import Installed


#: A plugin that takes longer in one request is named in the log, in seconds.
_SLOW = 1.0


def log_slow(times: progress.Times, log: Log) -> None:
    """Name every plugin that took more than a second for one hook or verb.

    What only waited, for a program or the API server, is a line of level ``verbose``.
    """
    for each in times.spent:
        if each.seconds > _SLOW:
            tell = log.error if each.seconds - each.waited > _SLOW else log.verbose
            tell(
                f"slow: {each.task.name} of {each.task.plugin!r} took {each.seconds:.1f} s",
                plugin=each.task.plugin,
                task=each.task.name,
                duration=each.seconds,
                waited=each.waited,
            )


class Serving:
    """One request while it is served.

    ``outcome`` is what observers are told at its end, without its times; ``call`` is for the stage
    *invoke*; ``patience`` is how long other commands are waited for, in seconds.
    """

    def __init__(
        self,
        installed: Installed,
        request: Request,
        conf: Conf,
        session: Session,
        times: progress.Times,
    ) -> None:
        self._started, self._clock = time.time(), time.perf_counter()
        self.session = session
        self.call = Carrier(installed, session, request, conf)
        self.observers: Observers = installed.hooks.observers(session)
        self._stages: dict[str, float] = {}
        self._times = times
        self.outcome = Outcome(request.command)
        self.patience = session.remaining(PATIENCE)
        #: Whether the request fails as an earlier one did, of which observers were told.
        self.told_before = False

    @contextmanager
    def transaction(self, *, adding: bool = False) -> Iterator[Transaction]:
        """The transaction of the request's container; see ``multus.state.transaction.begin``."""
        begun = transaction.begin(self.call, self.observers, self.patience, adding=adding)
        with begun as (made, self.call):
            yield made

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Take the time of a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._stages[name] = time.perf_counter() - started

    def attached(self, attachment: Attachment) -> None:
        """A network is attached; what comes later may fail, and undo it."""
        made = (*self.outcome.attachments, attachment)
        self.outcome = evolve(self.outcome, attachments=made)

    def changed(
        self, changes: Changes, attachments: tuple[Attachment, ...], told: Collection[str]
    ) -> None:
        """A running container was changed, and has *attachments*; *told* are known errors."""
        fresh = [each for each in changes.refused if str(each.error) not in told]
        for each in changes.refused:
            tell = self.session.log.error if each in fresh else self.session.log.verbose
            tell(f"{each.network}, interface {each.ifname}: not changed", error=each.error)
        told_now = changes._replace(refused=tuple(fresh))
        self.outcome = evolve(self.outcome, changes=told_now, attachments=attachments)

    def end(self) -> None:
        """Tell the observers and the log how the request ended, and how long each part took."""
        outcome = self.outcome = evolve(
            self.outcome,
            stages=self._stages,
            started=self._started,
            seconds=time.perf_counter() - self._clock,
            delegates=tuple(self.call.carried),
            plugins=self._times.spent,
        )
        if not self.told_before:
            self.observers.finished(outcome, self.call.request, self.call.conf)
        seconds, error, log = time.perf_counter() - self._clock, outcome.error, self.session.log
        if error is not None and not self.told_before:
            message = said(outcome.command, error)
            log.error(message, code=error.number, error=error, duration=seconds)
        else:
            log.verbose(outcome.command, duration=seconds, stages=outcome.stages)
        log_slow(self._times, log)
