"""What waits to be made of one object, and what a write of several makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from multus.api.errors import CNIError, TryAgainLater, described
from multus.api.kubernetes._edits import Change, Edit, EditFunction, function_of
from multus.kube.merging import joined, merged

if TYPE_CHECKING:
    from multus.kube.early import Early

_Wire = Mapping[str, Any]

#: The most edits of one write.
MOST = 256


class NotTried(TryAgainLater):
    """An edit before it, of the same object, was not made."""


class Job:
    """One edit that waits, and how it ended; it is not made when the one *before* it has failed."""

    def __init__(self, edit: Edit, before: Job | None) -> None:
        self.edit, self.before = edit, before
        self.done = False
        self.answer: Any = None
        self.error: CNIError | None = None
        self.function: EditFunction = _nothing
        try:
            self.function = function_of(edit)
        except CNIError as error:
            self.done, self.error = True, error
        self.then: Edit | None = None
        self.at_once = False
        self.early: Early | None = None

    def apply(self, wire: _Wire | None) -> Change:
        """Compute the change; an error of the function is this edit's alone."""
        self.error = self.then = None
        if self.before is not None and self.before.error is not None:
            self.error = NotTried(f"an earlier change of {self.edit.object} was not made")
            return Change()
        try:
            change = self.function(wire, self.edit.given)
        except CNIError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001  a plugin's function must not fail other edits
            self.error = CNIError(
                f"{self.edit.object}: its edit {self.edit.function!r} failed with"
                f" {described(error)}",
                fix="report it to the plugin's author",
            )
        else:
            self.answer, self.then, self.at_once = change.answer, change.then, change.at_once
            return change
        return Change()


def _nothing(wire: _Wire | None, given: _Wire) -> Change:
    """The function of an edit that names none."""
    return Change()


class Computed(NamedTuple):
    """What a batch makes of an object: what is written, and what the object is then."""

    batch: list[Job]
    after: _Wire | None
    patch: Any = None
    remove: bool = False


def alike(waiting: list[Job], most: int) -> list[Job]:
    """The first edits that wait, *most* at most, as far as one request can write them."""
    part = waiting[0].edit.subresource
    return list(takewhile(lambda job: job.edit.subresource == part, waiting[:most]))


def compute(batch: list[Job], before: _Wire | None) -> Computed:
    """Apply the edits in their order; a removal ends the batch."""
    after, patch = before, None
    for count, job in enumerate(batch, 1):
        change = job.apply(after)
        if change.remove:
            if after is before:
                return Computed(batch[:count], None, remove=before is not None)
            # Edits before it have changed the object: they are written first.
            return Computed(batch[: count - 1], after, patch)
        if change.patch is not None:
            patch = change.patch if patch is None else joined(patch, change.patch)
            after = merged(after, change.patch)
    return Computed(batch, after, patch)
