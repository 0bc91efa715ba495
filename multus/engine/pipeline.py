"""The engine: parse, resolve networks, order with the primary first, invoke, merge.

Each verb is a method.  The order of the stages is fixed; the installed plugins decide what each
stage answers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import evolve

from multus.api import progress
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
from multus.api.network import Attachment, Changes, Delegate, Element
from multus.api.ordering import primary_first
from multus.api.request import Request
from multus.api.result import Result
from multus.api.session import Meter, Session
from multus.engine import merge, namespace, order, parse, resolve
from multus.engine.invoke.call import Call
from multus.engine.invoke.plan import plan, prepare, unwritable
from multus.engine.serving import Serving, log_slow
from multus.log import Log, is_unexpected
from multus.log import outcome as said
from multus.registry.loading import Installed
from multus.state.journal import Journal
from multus.state.plugins import joined
from multus.state.record import Planned, Record
from multus.state.transaction import Attempt, Transaction
from multus.state.undo import request_for

if TYPE_CHECKING:
    from multus.api.kubernetes import Api
    from multus.engine.changing import Foreseen


class Engine:
    """Carries requests out with the *installed* plugins.

    The other arguments are the means that every request gets; see ``multus.api.session.Session``.
    """

    def __init__(
        self,
        installed: Installed,
        log: Log,
        api: Api | None = None,
        chroot: str = "",
        meter: Meter | None = None,
        deadline: float | None = None,
    ) -> None:
        self.installed = installed
        self.log = log
        self.api = api
        self.chroot = chroot
        self.meter = meter
        self.deadline = deadline

    def session(self, request: Request) -> Session:
        """What plugins may use while *request* is served; close it by ``with``."""
        log = self.log.bind(container=request.container_id, pod=request.pod_label)
        return Session(log, self.api, self.deadline, self.chroot, self.meter)

    def add(self, request: Request, conf: Conf, *, validated: bool = False) -> Result:
        """Attach the container to every network it is to have, or to none; raises ``CNIError``.

        *validated* says that an earlier ADD with *conf* was served by the same plugins.
        """
        with self._serving(request, conf) as serving:
            session = serving.session
            namespace.require_containers(request, self.chroot)
            if not validated:
                parse.validate(conf, self.installed)
            with serving.transaction(adding=True) as transaction:
                transaction.remove_leftovers()
                with serving.stage("resolve"):
                    resolved = resolve.resolve(self.installed, request, conf, session)
                with serving.stage("order"):
                    hooks = self.installed.hooks
                    delegates = order.order(hooks, resolved, request, conf, session)
                planned = plan(delegates, serving.call)
                prepare(planned, serving.call)
                with serving.stage("journal"):
                    attempt = _attempt(transaction, planned)
                with attempt:
                    with serving.stage("invoke"):
                        attachments = attempt.attach(serving.attached)
                    with serving.stage("merge"):
                        result = merge.merge(self.installed, attachments, request, conf, session)
                    serving.outcome = evolve(serving.outcome, result=result)
                    _finish(attempt, result, conf)
        return result

    def delete(self, request: Request, conf: Conf) -> None:
        """Detach the container; what does not exist is no error.  Needs the journal alone."""
        asked = namespace.removable(request, self.chroot)
        with self._serving(asked, conf) as serving, serving.transaction() as transaction:
            _raise(transaction.remove(), serving.session.log)

    def recover(self, request: Request, conf: Conf) -> None:
        """Undo what an ADD or DEL of this container left when its process was killed.

        A container that has all its networks is left alone.
        """
        asked = namespace.removable(request, self.chroot)
        with self._serving(asked, conf) as serving, serving.transaction() as transaction:
            _raise(transaction.remove_unfinished(), serving.session.log)

    def attach_one(
        self, request: Request, conf: Conf, element: Element, asked: Mapping[str, Any]
    ) -> Attachment:
        """Attach one more network to a running container, or nothing; raises ``CNIError``.

        *request* is an ADD with the interface of the container's own ADD, *conf* the configuration
        of that; *element* has the network's configuration and interface, *asked* what is requested
        of it, by capability.
        """
        from multus.engine import running

        with self._serving(request, conf) as serving:
            serving.outcome = evolve(serving.outcome, command="ATTACH")
            with serving.transaction(adding=True) as transaction:
                attachment = running.attach(transaction.change(), serving, element, asked)
                serving.outcome = evolve(serving.outcome, result=attachment.result)
        return attachment

    def detach_one(self, request: Request, conf: Conf, element: Element) -> None:
        """Detach one network from a running container; what does not exist is no error.

        The record says how; without a record, *element*'s configuration.
        """
        from multus.engine import running

        with self._serving(request, conf) as serving:
            serving.outcome = evolve(serving.outcome, command="DETACH")
            with serving.transaction() as transaction:
                _raise(running.detach(transaction, serving, element), serving.session.log)

    def change(self, request: Request, conf: Conf, told: Collection[str] = frozenset()) -> Changes:
        """Make a running container's networks what its sources ask for now.

        *request* and *conf* are those of ``changing.request_of``.  A network that fails is among
        the refused, and the others are changed.  Observers and the log are not told of an error
        whose text is among *told*.  Raises ``UnknownContainer`` for a container that has ended, and
        what the sources raise.
        """
        from multus.engine import changing

        with self._serving(request, conf, told) as serving:
            serving.outcome = evolve(serving.outcome, command="CHANGE")
            with serving.transaction(adding=True) as transaction:
                change = transaction.change()
                changing.require_running(change.record, request)
                changes = changing.carry_out(change, serving)
                serving.changed(changes, change.record.attachments(), told)
        return changes

    def review(self, request: Request, conf: Conf, told: Collection[str] = frozenset()) -> None:
        """Tell observers what a running container has, as after a change that changed nothing.

        One that keeps a status elsewhere can put it right.  *told* and errors as for ``change``.
        """
        from multus.engine import changing

        with self._serving(request, conf, told) as serving:
            serving.outcome = evolve(serving.outcome, command="CHANGE")
            with serving.transaction() as transaction:
                record = transaction.finished_record()
                changing.require_running(record, request)
                serving.changed(Changes(), record.attachments(), told)

    def foresee(self, request: Request, conf: Conf) -> Foreseen:
        """What ``change`` would do; raises as it does, and has no effects."""
        from multus.engine import changing

        with self.session(request) as session:
            record = Journal(conf.cni_dir).find(request.container_id, request.ifname)
            if record is None or record.result is None:
                raise UnknownContainer(f"{request} has no finished attachment in {conf.cni_dir}")
            changing.require_running(record, request)
            asked = request_for(record, request)
            return changing.foresee(record, Call(self.installed, session, asked, conf))

    def check(self, request: Request, conf: Conf) -> None:
        """Raise ``CheckFailed``, or a delegate's error, when something differs from the record."""
        from multus.engine.invoke import upkeep
        from multus.state import verify

        with self._serving(request, conf) as serving, serving.transaction() as transaction:
            record = transaction.finished_record()
            serving.outcome = evolve(serving.outcome, attachments=record.attachments())
            errors = upkeep.check(record, serving.call)
            _raise(errors + verify.problems(record, request.netns), serving.session.log)

    def check_one(self, request: Request, conf: Conf, element: Element) -> None:
        """As ``check``, for the network on *element*'s interface."""
        from multus.engine import running
        from multus.engine.invoke import upkeep
        from multus.state import verify

        with self._serving(request, conf) as serving, serving.transaction() as transaction:
            record = running.part_of(transaction.finished_record(), element.interface)
            errors = upkeep.check(record, serving.call)
            _raise(errors + verify.problems(record, request.netns), serving.session.log)

    def status_one(self, request: Request, conf: Conf, element: Element) -> None:
        """Raise the reason why *element*'s plugins could not serve an ADD now."""
        from multus.engine import running
        from multus.engine.invoke import upkeep

        with self.session(request) as session:
            call = Call(self.installed, session, request, conf)
            upkeep.status([running.delegate_of(element, call)], call)

    def status(self, request: Request, conf: Conf) -> None:
        """Raise the first reason why an ADD could not be served now."""
        with progress.timed() as times:
            try:
                self._status(request, conf)
            except CNIError as error:
                if is_unexpected(error):
                    self.log.error(said("STATUS", error), code=error.number, error=error)
                raise
            finally:
                log_slow(times, self.log)

    def _status(self, request: Request, conf: Conf) -> None:
        from multus.engine.invoke import upkeep

        parse.validate(conf, self.installed)
        for problem in self.installed.hooks.health(conf):
            raise problem
        with self.session(request) as session:
            try:
                Journal(conf.cni_dir).prepare()
                resolved = resolve.resolve(self.installed, request, conf, session)
            except (IOFailure, StateDamaged, TryAgainLater) as error:
                raise error.into(NotAvailable) from error
            upkeep.status(resolved.delegates, Call(self.installed, session, request, conf))

    def collect_garbage(self, request: Request, conf: Conf) -> None:
        """Remove what belongs to this network and to no valid attachment; continue past errors."""
        from multus.engine.invoke import upkeep
        from multus.state import garbage, predecessor

        valid = garbage.valid_keys(conf)
        with self._serving(request, conf) as serving:
            journal = Journal(conf.cni_dir)
            with garbage.begin(journal, serving.patience) as before:
                errors = garbage.remove_incomplete(journal)
                offered = _offered(serving.call)
                found = garbage.sort(journal.records(), conf.name, valid, before)
                others = predecessor.records(journal, valid, request, conf)
                found += garbage.sort_others(others, offered, valid, before)
                errors += found.errors
                for record in found.dead:
                    errors += self.remove_dead(record, request, conf)
                kept = [*found.kept, *garbage.still_recorded(journal, found.dead)]
                incomplete = garbage.incomplete(kept, valid)
                if incomplete is None:
                    networks = garbage.networks(offered, conf.name, kept, found.dead)
                    errors += upkeep.collect_garbage(networks, serving.call)
                else:
                    errors.append(incomplete)
            _raise(errors, serving.session.log)

    def remove_dead(
        self,
        record: Record,
        today: Request,
        conf: Conf,
        gone: Callable[[Record], bool] = lambda _: True,
    ) -> list[CNIError]:
        """Remove what one record names, as its DEL would; returns what went wrong.

        *today* is the GC's request, which says where plugins are now.  A container that another
        command works on is left alone, and so is one whose record, read once more, is not *gone*.
        """
        container_id, ifname = record.key
        asked = evolve(today, command="DEL", container_id=container_id, ifname=ifname, netns="")
        request = request_for(record, asked)
        try:
            with self.session(request) as session:
                serving = Serving(self.installed, request, conf, session, progress.Times())
                serving.patience = 0.0
                with serving.transaction() as transaction:
                    return transaction.remove_if(gone)
        except TryAgainLater as error:
            self.log.verbose(f"{request} is left alone: {error}")
            return []
        except Exception as error:  # noqa: BLE001  one record must not keep GC from the others
            return [failure(f"removing {request}", error, "please report it, with the log")]

    @contextmanager
    def _serving(
        self, request: Request, conf: Conf, told: Collection[str] = frozenset()
    ) -> Iterator[Serving]:
        # Observers are told before everything is closed: they write through the same client.
        with progress.timed() as times, self.session(request) as session:
            serving = Serving(self.installed, request, conf, session, times)
            try:
                yield serving
            except BaseException as error:
                failed = failure("the engine", error, "please report it, with the log")
                serving.outcome = evolve(serving.outcome, error=failed)
                serving.told_before = str(failed) in told
                raise
            finally:
                serving.end()


def _attempt(transaction: Transaction, planned: Sequence[Planned]) -> Attempt:
    try:
        return transaction.attempt(planned)
    except (TypeError, ValueError, AttributeError) as error:
        raise unwritable(planned) or error


def _finish(attempt: Attempt, result: Result, conf: Conf) -> None:
    try:
        attempt.finish(result)
    except (TypeError, ValueError, AttributeError) as error:
        raise merge.unwritable(result, conf) or error


def _offered(call: Call) -> tuple[Delegate, ...]:
    """The networks that the configuration offers every container, for GC; none when unknown."""
    try:
        resolved = resolve.resolve(call.installed, call.request, call.conf, call.session)
        return primary_first(resolved.delegates)
    except CNIError as error:
        call.log.verbose(f"no garbage is collected in networks without a record: {error}")
        return ()


def _raise(errors: list[CNIError], log: Log) -> None:
    """Raise several errors as one; nothing when there are none.

    The log has what came of the request; *log* gets the tracebacks of the further errors.
    """
    for each in errors[1:]:
        if is_unexpected(each):
            log.error("another error of the same request", error=each)
    if errors:
        raise joined(errors)
