"""The base of every invoker: what carries one plugin's configuration out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from multus.api.errors import CNIError, NotStarted, attempted, shown
from multus.api.versions import SUPPORTED

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.result import Result


@frozen
class Declined:
    """What a ``multus_invoker`` hook returns to say: this type is mine, but not like this.

    ``reason`` is told in the log and by ``multus explain``, for example "key 'foo' is not one that
    the in-process ptp knows".  The next invoker that offers itself is taken.
    """

    invoker: str
    reason: str


class NothingDone(CNIError):
    """What ``add`` raises when it failed before it did anything: then nothing is undone."""

    code = NotStarted.code


class Invoker:
    """Carries invocations out.  Subclass it, set ``name``, override ``add`` and ``delete_one``.

    The verbs are CNI's.  Each raises a class of ``multus.api.errors``; the core adds the delegate's
    name.  An invoker holds no state of its own between calls: another process may carry out the
    next one.
    """

    #: What configurations call it in ``invoker`` and ``invokers``, and what the journal records.
    name: str = ""

    #: Whether what ``add`` does goes with the interface by itself.  DEL and GC then skip the step,
    #: also where this invoker is no longer installed; the journal records it with the step.
    leaves_nothing: bool = False

    #: Keys of the configuration that are for the owner of the node: files that the invoker writes,
    #: for instance.  What a tenant writes there does not reach it.
    node_keys: frozenset[str] = frozenset()

    def prepare(self, invocation: Invocation) -> None:
        """Raise when an ADD cannot be begun at all, a missing binary for instance.

        Asked of every network before the first is attached; it has no side effects, and what
        raises here is never undone.
        """

    def add(self, invocation: Invocation) -> Result:
        """Attach, or leave nothing behind that ``delete`` would not remove.

        After an error ``delete`` is called, unless the error is ``NothingDone``.
        Returns the result; the empty one when there is nothing to report.
        """
        raise MissingVerb(self.name, "ADD")

    def delete_one(self, invocation: Invocation) -> None:
        """Detach.  What is not there (any more) is not an error; it can always be repeated."""
        if self.leaves_nothing:
            return
        raise MissingVerb(self.name, "DEL")

    def delete(self, invocations: Sequence[Invocation]) -> list[CNIError | None]:
        """Detach neighbouring attachments of one container, in the order given.

        Returns, for each, its error or None; it does not stop at the first.  Override it where
        deleting many at once is cheaper than one by one; use ``attempted`` for what concerns one of
        them.  When it raises, or answers anything else, each is deleted by itself.
        """
        return [self.attempted(self._delete_one, invocation) for invocation in invocations]

    def _delete_one(self, invocation: Invocation) -> None:
        verb: Callable[[Invocation], object] = self.delete_one
        answer = verb(invocation)
        if answer is not None:
            raise CNIError(
                f"invoker {self.name!r} of {type(self).__module__}: delete_one returned"
                f" {shown(answer)}",
                fix="report it to its author, who has to return nothing, and raise errors",
            )

    def attempted(self, step: Callable[..., object], *arguments: object) -> CNIError | None:
        """Call one of several steps of a removal; returns its error, whatever it raises."""
        return attempted(f"invoker {self.name!r} of {type(self).__module__}", step, *arguments)

    def check(self, invocation: Invocation) -> None:
        """Raise ``CheckFailed`` when what ``prev_result`` says is not so."""

    def status(self, invocation: Invocation) -> None:
        """Raise ``NotAvailable`` when an ADD could not be served now."""

    def gc(self, invocation: Invocation) -> None:
        """Remove what belongs to this network and to none of ``valid_attachments``."""

    def versions(self, invocation: Invocation) -> Sequence[str]:
        """The CNI versions that may be spoken; asked only after ``IncompatibleVersion``."""
        return SUPPORTED


class MissingVerb(CNIError):
    """An invoker does not implement a verb that every invoker must."""

    code = 999

    def __init__(self, invoker: str, verb: str) -> None:
        super().__init__(f"invoker {invoker!r} has no {verb}: report it to the plugin's author")
