"""Making kept edits of several files together: those of one object are one write.

A node that could not write for a while has many.  One after the other, each would have to win its
own race against the other nodes, and the calls that wait for them would keep more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from multus.api.errors import CNIError, TryAgainLater
from multus.api.kubernetes._failures import ApiFailure
from multus.kube.batches import NotTried

if TYPE_CHECKING:
    from multus.api.kubernetes._edits import Edit
    from multus.api.kubernetes._objects import ObjectRef

#: Makes edits of one object in their order, at the API server of a kubeconfig; returns for each its
#: answer, or the ``CNIError`` for which it was not made.
Make = Callable[[str, "Sequence[Edit]"], Sequence[object]]


def is_refused(error: Exception) -> bool:
    """Whether an edit would fail again, however often it is repeated."""
    return error.refused if isinstance(error, ApiFailure) else not isinstance(error, TryAgainLater)


class Kept(NamedTuple):
    """The edits of one file, and the kubeconfig that names their API server."""

    kubeconfig: str
    edits: tuple[Edit, ...]

    @property
    def objects(self) -> frozenset[ObjectRef]:
        """The objects that they change."""
        return frozenset(each.object for each in self.edits)


class Begun:
    """A file whose edits are made: how many are, and the ``error`` of the one after them."""

    def __init__(self, name: str, kept: Kept, error: Exception | None = None) -> None:
        self.name, self.kubeconfig, self.error = name, kept.kubeconfig, error
        self._edits = list(kept.edits)

    @property
    def next(self) -> Edit:
        return self._edits[0]

    @property
    def is_made(self) -> bool:
        return not self._edits

    @property
    def objects(self) -> set[ObjectRef]:
        """The objects of the edits that are not made."""
        return {each.object for each in self._edits}

    @property
    def later(self) -> set[ObjectRef]:
        """The objects of those after the next one."""
        return {each.object for each in self._edits[1:]}

    def heard(self, outcome: object) -> None:
        """Take what became of the next edit."""
        if isinstance(outcome, NotTried):
            return  # the file of the one before it has the error
        if isinstance(outcome, Exception):
            self.error = outcome
        else:
            del self._edits[0]


def carry_out(files: Sequence[Begun], make: Make, left: set[ObjectRef]) -> None:
    """Make the edits of each file in order, and those of one object in the order of *files*.

    *left* are objects of which an earlier edit was not made, so that none is; more are added.  An
    API server that does not answer is not asked again.
    """
    away: set[str] = set()
    while groups := _ready(files, left, away):
        for (kubeconfig, _), group in groups.items():
            if kubeconfig in away:
                continue
            try:
                outcomes = make(kubeconfig, [each.next for each in group])
            except (CNIError, OSError) as error:
                outcomes = [error] * len(group)
            for each, outcome in zip(group, outcomes, strict=True):
                each.heard(outcome)
                if each.error is not None and not is_refused(each.error):
                    away.add(kubeconfig)
    for each in files:
        left |= each.objects


def _ready(
    files: Sequence[Begun], left: set[ObjectRef], away: set[str]
) -> dict[tuple[str, ObjectRef], list[Begun]]:
    """The files whose next edit comes after no other, by API server and object."""
    blocked = set(left)
    servers: dict[ObjectRef, str] = {}
    found: dict[tuple[str, ObjectRef], list[Begun]] = {}
    for each in files:
        if each.is_made:
            continue
        wanted, objects = each.next.object, each.objects
        alone = servers.setdefault(wanted, each.kubeconfig) == each.kubeconfig
        if each.error is None and alone and wanted not in blocked and each.kubeconfig not in away:
            found.setdefault((each.kubeconfig, wanted), []).append(each)
            objects = each.later
        blocked |= objects
    return found
