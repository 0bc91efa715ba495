"""A change of a running container: one more network, or one less.

The record of its ADD stays finished.  A change has an intent of its own in it, fsynced before
anything is done; when the process is killed, the next change, DEL or recovery removes the network
of the change that did not end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from multus.api import progress
from multus.api.errors import BadEnvironment, CNIError, TryAgainLater
from multus.api.invoker import NothingDone
from multus.state import recordfile, undo
from multus.state.plugins import Detached
from multus.state.recordfile import Writer

if TYPE_CHECKING:
    from multus.api.network import Attachment
    from multus.registry.hooks import Observers
    from multus.state.plugins import Plugins
    from multus.state.record import Planned, Record

#: The reason that observers are told for what is attached or detached here.
_REASON = "change"


class Change:
    """What may be changed of the container of *record* while its lock is held."""

    def __init__(self, record: Record, plugins: Plugins, observers: Observers) -> None:
        self._record: Record | None = record
        self._path, self._key = record.path, record.key
        self._plugins = plugins
        self._observers = observers

    @property
    def record(self) -> Record:
        """The record as it is now."""
        if self._record is None:
            self._record = recordfile.read(self._path, *self._key)
        return self._record

    def find(self, ifname: str) -> int | None:
        """The index of the delegate whose interface is *ifname*; None without one."""
        planned = self.record.planned
        named = (index for index in self.record.left() if planned[index].delegate.ifname == ifname)
        return next(named, None)

    def require_free(self, ifname: str) -> None:
        """Raise ``BadEnvironment`` when a network of the container has the interface *ifname*.

        Raises ``TryAgainLater`` when it is one that an earlier change could not remove.
        """
        index = self.find(ifname)
        if index is not None and index in self.record.changing:
            raise TryAgainLater(
                f"an earlier change of {self._plugins.request} left"
                f" {self.record.planned[index].delegate} on {ifname!r}, which cannot be removed",
                fix="see Multus' log, then try again, or use another interface",
            )
        if index is not None:
            raise BadEnvironment(
                f"{self._plugins.request} already has {self.record.planned[index].delegate} on"
                f" {ifname!r}: detach it first, or use another interface"
            )

    def attach(
        self, planned: Planned, attached: Callable[[Attachment], None] = lambda _: None
    ) -> Attachment:
        """Attach one more network, or nothing: raises its error."""
        index = max(self.record.planned, default=-1) + 1
        with self._writing() as writer:
            writer.attaching(index, planned)
            reached: list[Attachment] = []

            def note(attachment: Attachment) -> None:
                reached.append(attachment)
                writer.attached(index, attachment)

            try:
                attachment = self._plugins.attach(planned, note)
                writer.joined(index)
            except BaseException as error:
                self._fail(index, planned, reached, writer, error)
                raise
        attached(attachment)
        request, conf = self._plugins.request, self._plugins.conf
        self._observers.attached(attachment, request, conf, _REASON)
        return attachment

    def detach(self, index: int) -> list[CNIError]:
        """Detach delegate *index*; returns what went wrong."""
        planned = self.record.planned[index]
        with self._writing() as writer:
            writer.detaching(index)
            detached = self._detach(index, planned, writer)
        request, conf = self._plugins.request, self._plugins.conf
        self._observers.detached(detached.delegate, detached.error, request, conf, _REASON)
        return list(detached.errors)

    def remove_unfinished(self) -> list[CNIError]:
        """Detach the networks of the changes that did not end; returns what went wrong."""
        errors: list[CNIError] = []
        for index in sorted(self.record.changing, reverse=True):
            planned = self.record.planned[index]
            with self._writing() as writer:
                errors += self._detach(index, planned, writer).errors
        return errors

    @contextmanager
    def _writing(self) -> Iterator[Writer]:
        """Append lines to the record, which is read again when someone asks for it."""
        try:
            with closing(Writer(self._path)) as writer:
                yield writer
        finally:
            self._record = None

    def _detach(self, index: int, planned: Planned, writer: Writer) -> Detached:
        (detached,) = self._plugins.detach([(index, planned)], self.record.done)
        _settle(detached, writer)
        return detached

    def _fail(
        self,
        index: int,
        planned: Planned,
        reached: Sequence[Attachment],
        writer: Writer,
        error: BaseException,
    ) -> None:
        """Undo an attachment, and add to the details of *error* what could not be undone."""
        done = len(reached[-1].versions) if reached else 0
        begun = done if isinstance(error, NothingDone) else done + 1
        part = planned._replace(steps=planned.steps[:begun])
        last = {index: reached[-1]} if reached else {}
        request, conf = self._plugins.request, self._plugins.conf
        with progress.step(f"undoing the attachment of {planned.delegate}"):
            (detached,) = self._plugins.detach([(index, part)], last)
            self._observers.undone(detached.delegate, detached.error, request, conf)
            try:
                _settle(detached, writer)
            except CNIError as unwritten:
                self._plugins.log.error("the undo is not written down", error=unwritten)
        for each in detached.errors:
            self._plugins.log.error("could not be undone", error=each)
        if detached.errors and isinstance(error, CNIError):
            raise undo.with_undo_errors(error, detached.errors) from error


def _settle(detached: Detached, writer: Writer) -> None:
    """Write down how the removal of a delegate ended."""
    if detached.error is None:
        writer.detached(detached.number)
    else:
        writer.failed(detached.number, detached.error)
