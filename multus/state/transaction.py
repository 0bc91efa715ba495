"""One container's networks, changed as a whole or not at all.

An ADD, as a story::

    with begin(…) as (transaction, plugins):      # the container's lock is held
        transaction.remove_leftovers()            # of an ADD that was killed before
        attempt = transaction.attempt(planned)    # the intent is fsynced: DEL can undo it from here
        with attempt:                             # an exception in here undoes what was begun
            attempt.attach()                      # one delegate after the other, each written down
            attempt.finish(result)                # the record is finished: the container has all

A DEL is ``transaction.remove()``.  A process that is killed anywhere in between leaves a record
that is not finished; the next command for the container removes all that the record names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from multus.api import progress
from multus.api.errors import BadEnvironment, CNIError, TryAgainLater, UnknownContainer
from multus.api.invoker import NothingDone
from multus.state import undo
from multus.state.journal import Journal
from multus.state.liveness import Liveness, look
from multus.state.lock import container_lock
from multus.state.plugins import Detached, Plugins

if TYPE_CHECKING:
    from types import TracebackType

    from multus.api.network import Attachment
    from multus.api.request import Request
    from multus.api.result import Result
    from multus.registry.hooks import Observers
    from multus.state.change import Change
    from multus.state.record import Planned, Record
    from multus.state.recordfile import Writer

#: The number of delegates that are gone, after which the record of a running container is written
#: again without them.
_WORN = 8

#: How long a command waits for another one of the same container, in seconds.
PATIENCE = 60.0

_P = TypeVar("_P", bound=Plugins)


@contextmanager
def begin(
    plugins: _P, observers: Observers, patience: float = PATIENCE, *, adding: bool = False
) -> Iterator[tuple[Transaction, _P]]:
    """Hold the lock of the request's container; gives its transaction, and *plugins* locked.

    No other command of this container runs meanwhile; with *adding*, no GC either.  A plugin that
    outlives this process inherits the lock, so that the next DEL waits for it.  Raises
    ``TryAgainLater`` when the lock is not free within *patience* seconds, ``StateDamaged`` and
    ``IOFailure``.
    """
    journal = Journal(plugins.conf.cni_dir)
    journal.prepare()
    container_id = plugins.request.container_id
    with container_lock(journal.folder, container_id, patience, adding=adding) as lock:
        locked = plugins.holding(lock)
        yield Transaction(journal, locked, observers), locked


class Transaction:
    """What may be done to one container's networks while its lock is held."""

    def __init__(self, journal: Journal, plugins: Plugins, observers: Observers) -> None:
        self._journal = journal
        self._plugins = plugins
        self._observers = observers

    def remove_leftovers(self) -> None:
        """Remove what an ADD of this container and interface left that did not end.

        A finished one is left alone while its namespace exists: raises ``BadEnvironment``.  After a
        reboot the same container may come with another namespace; then what it had is removed.
        Raises ``TryAgainLater`` for what cannot be removed.
        """
        request, record = self._plugins.request, self._record()
        if record is None:
            return
        if record.result and look(request.netns, record.netns_identity) is Liveness.SAME:
            raise BadEnvironment(
                f"{request} already has its networks on {request.ifname!r}: DEL it before it is"
                " added again"
            )
        errors = self._remove_recorded(record, configured=False)
        if errors:
            raise undo.with_undo_errors(
                TryAgainLater(
                    f"an earlier attempt for {request} left attachments that could not be removed",
                    fix="see the details, then try again",
                ),
                errors,
            )

    def attempt(self, planned: Sequence[Planned]) -> Attempt:
        """Write the intent and fsync it; from here on any process can undo the request."""
        writer = self._journal.begin(self._plugins.request, self._plugins.kept_conf, planned)
        return Attempt(planned, writer, self._plugins, self._observers)

    def finished_record(self) -> Record:
        """The record of a container that has all its networks; raises ``UnknownContainer``.

        What the Go Multus wrote counts, and is not changed.
        """
        request = self._plugins.request
        record = self._journal.find(request.container_id, request.ifname) or self._theirs()
        if record is None or record.result is None:
            raise UnknownContainer(
                f"{request} with interface {request.ifname!r} has no finished attachment in"
                f" {self._journal.folder}",
                fix="delete and add it again",
            )
        return record

    def change(self) -> Change:
        """A change of the running container; what an earlier one left is removed first.

        What cannot be removed is logged, and keeps its interface.  Raises ``UnknownContainer``, and
        ``BadEnvironment`` when the request's namespace is another one.
        """
        request, record = self._plugins.request, self._own_record() or self._adopted_running()
        if record is None or record.result is None:
            raise UnknownContainer(
                f"{request} has no finished attachment in {self._journal.folder}",
                fix="a network is attached to, and detached from, a container that has its others",
            )
        if look(request.netns, record.netns_identity) is Liveness.OTHER:
            raise BadEnvironment(
                f"{request.netns} is not the network namespace of {request}",
                fix="name the namespace of its sandbox",
            )
        change = self._changing(record)
        if record.changing:
            for error in change.remove_unfinished():
                self._plugins.log.error(
                    f"an earlier change of {request} left a network that cannot be removed",
                    error=error,
                )
            record = self._journal.find(*record.key)
            assert record is not None  # the lock is held
        worn = len(record.gone) >= _WORN and not (record.changing or record.damage)
        return self._changing(self._journal.compact(record) if worn else record)

    def _changing(self, record: Record) -> Change:
        from multus.state.change import Change

        plugins = self._plugins.asked_by(undo.request_for(record, self._plugins.request))
        return Change(record, plugins, self._observers)

    def remove_if(self, gone: Callable[[Record], bool]) -> list[CNIError]:
        """Remove the networks of a record that is *gone*, and of the Go Multus's; else do nothing.

        Another command may have replaced the record before this one held the lock.  Returns what
        went wrong.
        """
        record = self._own_record()
        if record is not None and not gone(record):
            return []
        return self.remove() if record is not None or self._journal_has_theirs() else []

    def remove(self) -> list[CNIError]:
        """Remove the container's networks: the record's, without a record the configuration's.

        Returns what went wrong.
        """
        record, request = self._record() or self._of_a_failed_del(), self._plugins.request
        if record is not None:
            return self._remove_recorded(record, configured=True)
        if self._journal.is_stuck(request.container_id, request.ifname):
            self._plugins.log.verbose(f"{request} has no record but that of what was given up")
            return []
        return self._remove_configured(recorded=self._journal.knows(request.container_id))

    def remove_unfinished(self) -> list[CNIError]:
        """Remove what an unfinished record names; a finished one is a living container's.

        No command of ours is interrupted that has no record: the Go Multus's is left alone.
        """
        record = self._own_record()
        if record is not None and record.result is not None:
            return self._changing(record).remove_unfinished() if record.changing else []
        if record is None:
            return []
        return self._remove_recorded(record, configured=False)

    def _record(self) -> Record | None:
        """The record of this container and interface, or one made of the Go Multus's."""
        return self._own_record() or self._adopted()

    def _own_record(self) -> Record | None:
        request = self._plugins.request
        self._journal.remove_incomplete(request.container_id, request.ifname)
        return self._journal.find(request.container_id, request.ifname)

    def _of_a_failed_del(self) -> Record | None:
        """A record made of what the Go Multus left when its own DEL failed."""
        return self._adopt() if self._journal.has_results() else None

    def _adopted(self) -> Record | None:
        return self._adopt() if self._is_theirs() else None

    def _adopted_running(self) -> Record | None:
        """A finished record made of the Go Multus's; what it is not known to have ended is left."""
        theirs = self._theirs()
        if theirs is None or theirs.result is None:
            return None
        return self._adopt(theirs.request, theirs.result)

    def _adopt(self, request: Request | None = None, result: Result | None = None) -> Record | None:
        from multus.state import predecessor

        asked, conf, log = request or self._plugins.request, self._plugins.conf, self._plugins.log
        return predecessor.adopt(self._journal, asked, conf, log, result)

    def _theirs(self) -> Record | None:
        if not self._is_theirs():
            return None
        from multus.state import predecessor

        return predecessor.look(self._journal.folder, self._plugins.request, self._plugins.conf)

    def _journal_has_theirs(self) -> bool:
        return self._is_theirs() or self._journal.has_results()

    def _is_theirs(self) -> bool:
        """Whether the Go Multus wrote a record of this container."""
        container_id = self._plugins.request.container_id
        return os.path.lexists(os.path.join(self._journal.folder, container_id))

    def _remove_recorded(self, record: Record, *, configured: bool) -> list[CNIError]:
        """Remove what *record* names; where it is incomplete, if *configured*, what stdin says."""
        others = []
        if not record.complete:
            self._plugins.log.error(f"{record.path} does not name all networks: {record.damage}")
            others = self._remove_configured(recorded=True) if configured else []
        plugins = self._plugins.asked_by(undo.request_for(record, self._plugins.request))
        return undo.remove_recorded(record, self._journal, plugins, self._observers, others)

    def _remove_configured(self, *, recorded: bool) -> list[CNIError]:
        """Remove what the configuration offers every container; nothing is written down.

        *recorded*: a record, though a damaged one, says that something was attached.
        """
        request, conf = self._plugins.request, self._plugins.conf
        try:
            planned = self._plugins.offered()
        except CNIError as error:
            self._plugins.log.verbose(f"{request} has no record, and none can be made: {error}")
            return []
        detached = self._plugins.detach(list(enumerate(planned)), {})
        if not recorded and any(each.errors for each in detached):
            from multus.state.unattached import without_uninstalled

            detached = without_uninstalled(planned, detached, self._plugins)
        for each in detached:
            self._observers.detached(each.delegate, each.error, request, conf)
        return [error for each in detached for error in each.errors]


class Attempt:
    """An ADD whose intent is written; as a context manager, an exception undoes what was begun."""

    def __init__(
        self, planned: Sequence[Planned], writer: Writer, plugins: Plugins, observers: Observers
    ) -> None:
        self._planned = planned
        self._writer = writer
        self._plugins = plugins
        self._observers = observers
        #: The beginning of *planned*: of the last one, the part of its chain that was begun.
        self._begun: list[Planned] = []
        self._reached: dict[int, Attachment] = {}

    def attach(
        self, attached: Callable[[Attachment], None] = lambda _: None
    ) -> tuple[Attachment, ...]:
        """Attach every delegate in turn, and call *attached* with each one's attachment.

        Raises the error of the first that fails.
        """
        for index, planned in enumerate(self._planned):
            self._begun.append(planned)
            try:
                attachment = self._plugins.attach(planned, partial(self._note, index))
            except CNIError as error:
                self._begun[index] = self._begun_part(index, error)
                raise
            self._reached[index] = attachment
            attached(attachment)
            self._observers.attached(attachment, self._plugins.request, self._plugins.conf)
        return tuple(self._reached.values())

    def finish(self, result: Result) -> None:
        """Write down that the container has all its networks, and the answer."""
        self._writer.finished(result)

    def __enter__(self) -> Attempt:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is not None:
                self._fail(error)
        finally:
            self._writer.close()

    def _note(self, index: int, attachment: Attachment) -> None:
        self._reached[index] = attachment
        self._writer.attached(index, attachment)

    def _begun_part(self, index: int, error: CNIError) -> Planned:
        """The steps of a chain that were begun when *error* ended it."""
        planned, reached = self._planned[index], self._reached.get(index)
        done = len(reached.versions) if reached else 0
        begun = done if isinstance(error, NothingDone) else done + 1
        return planned._replace(steps=planned.steps[:begun])

    def _fail(self, error: BaseException) -> None:
        """Undo, and add to the details of *error* what could not be undone."""
        last = self._begun[-1].delegate if self._begun else "no network"
        with progress.step(f"undoing an ADD that came to {last}"):
            errors = self._undo()
        if not errors:
            return
        for each in errors:
            self._plugins.log.error("could not be undone", error=each)
        if isinstance(error, CNIError):
            raise undo.with_undo_errors(error, errors) from error

    def _undo(self) -> list[CNIError]:
        """Detach what was begun, the last first; the record stays as long as one delegate does."""
        detached = self._plugins.detach(list(enumerate(self._begun)), self._reached)
        for each in detached:
            request, conf = self._plugins.request, self._plugins.conf
            self._observers.undone(each.delegate, each.error, request, conf)
        # What was never begun is written down as gone: it need not be removed later.
        rest = range(len(self._begun), len(self._planned))
        never = [Detached(index, self._planned[index].delegate) for index in rest]
        return undo.settle([*detached, *never], self._writer)
