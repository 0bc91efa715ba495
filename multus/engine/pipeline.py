"""The engine: parse, resolve networks, order with the primary first, invoke, merge.

Parsing is the front's first step (``multus.engine.parse``); what follows is here, a method a verb.
The order of the stages is fixed; what each does is up to the installed plugins.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from attrs import evolve

from multus.api.conf import Conf
from multus.api.errors import (
    CNIError,
    IOFailure,
    NotAvailable,
    StateDamaged,
    TryAgainLater,
    UnknownContainer,
    failure,
)
from multus.api.request import Api, Meter, Request
from multus.api.result import Result
from multus.engine import invoke, merge, order, parse, resolve
from multus.engine.closing import Closing
from multus.log import Log
from multus.registry.discovery import Installed
from multus.state import undo
from multus.state.journal import Journal
from multus.state.lock import collector_lock
from multus.state.record import Record
from multus.state.work import Work


class Engine(NamedTuple):
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
            request = work.call.request
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

    def recover(self, request: Request, conf: Conf) -> None:
        """Undo what an ADD or DEL of this container left when it was cut off.

        A container that has all its networks is left alone.
        """
        with self._working(request, conf) as work:
            work.journal.prepare()
            with work.locked():
                errors = work.recover()
                if errors:
                    raise invoke.joined(errors)

    def check(self, request: Request, conf: Conf) -> None:
        """Raise ``CheckFailed``, or a delegate's error, when something is not as recorded."""
        from multus.state import verify

        with self._working(request, conf) as work:
            work.journal.prepare()
            with work.locked():
                record = work.journal.find(request.container_id, request.ifname)
                if record is None or record.result is None:
                    raise UnknownContainer(
                        f"{request} with interface {request.ifname!r} has no finished attachment in"
                        f" {conf.cni_dir}",
                        fix="delete and add it again",
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
            with Closing(self.log) as closing:
                served = evolve(request, closing=closing)
                resolved = resolve.resolve(self.installed, served, conf)
        except (IOFailure, StateDamaged, TryAgainLater) as error:
            raise error.into(NotAvailable) from error
        invoke.status(resolved.delegates, invoke.Call(self.installed, self.log, request, conf))

    def collect_garbage(self, request: Request, conf: Conf) -> None:
        """Remove what belongs to this network and to no valid attachment; continue past errors."""
        from multus.state import garbage

        valid = garbage.valid_keys(conf)
        with self._working(request, conf) as work:
            work.journal.prepare()
            before = garbage.Before(work.journal.keys(), time.time())
            with collector_lock(work.journal.folder, work.patience):
                errors = garbage.tidy(work.journal)
                found = garbage.sort(work.journal.records(), conf.name, valid, before)
                errors += found.errors
                for record in found.dead:
                    errors += self.remove(record, request, conf)
                left = garbage.still_recorded(work.journal, found.dead)
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
            today,
            command="DEL",
            container_id=container_id,
            ifname=ifname,
            netns="",
            shared={},
            closing=None,
        )
        work = Work(self.installed, self.log, undo.request_of(record, request), conf)
        work.patience = 0.0
        try:
            with work.locked():
                return work.remove()
        except TryAgainLater as error:
            self.log.verbose(f"{work.call.request} is left alone: {error}")
            return []
        except Exception as error:  # noqa: BLE001  one record must not keep GC from the others
            return [failure(f"removing {request}", error, "please report it, with the log")]

    @contextmanager
    def _working(self, request: Request, conf: Conf) -> Iterator[Work]:
        # Observers are told before all is closed: they write through the same client.
        with Closing(self.log) as closing:
            work = Work(self.installed, self.log, evolve(request, closing=closing), conf)
            try:
                yield work
            except BaseException as error:
                told = failure("the engine", error, "please report it, with the log")
                work.outcome = evolve(work.outcome, error=told)
                raise
            finally:
                work.observers.finished(work.outcome, work.call.request, conf)
                work.report()
