"""Objects that belong to an edit, created while the edit's own object is being written.

The edit would create them afterwards (``Change.then``), and the caller would wait for two writes in
a row.  Created early, an object is deleted again when the edit comes to nothing.  Only a missing
object is created: then nobody else has it, and what is deleted is what was created here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from multus.api.errors import CNIError
from multus.api.kubernetes._deadline import Deadline
from multus.api.kubernetes._edits import Edit, function_of

if TYPE_CHECKING:
    from multus.api.kubernetes._objects import ObjectRef
    from multus.kube.objectwriter import ObjectWriter

#: The most that are created at the same time: with the edit's own write, they take all connections
#: that a client keeps.
_AT_ONCE = 7
#: The time for deleting one, in seconds.
_UNDO = 2.0


class Early(NamedTuple):
    """An object that was created: the answer of its edit, and the version that it has."""

    object: ObjectRef
    answer: Any
    version: str


@contextmanager
def creating(
    edits: Sequence[Edit], writer: ObjectWriter, deadline: Deadline
) -> Iterator[dict[ObjectRef, Early]]:
    """Create what *edits* would create, in threads; at the end of the block all have ended.

    The value has then those that were created.
    """
    made: dict[ObjectRef, Early] = {}
    if not edits:
        yield made
        return
    from concurrent.futures import ThreadPoolExecutor

    def create(edit: Edit) -> None:
        found = _create(edit, writer, deadline)
        if found is not None:
            made[edit.object] = found

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        with suppress(RuntimeError):  # there is no thread for it: it is made afterwards
            for each in edits:
                threads.submit(create, each)
        yield made


def undo(early: Early, writer: ObjectWriter) -> None:
    """Delete it, unless it has changed since; one that stays is not allocated to anybody else."""
    with suppress(CNIError):
        writer.delete(early.object, early.version, Deadline.after(_UNDO))


def _create(edit: Edit, writer: ObjectWriter, deadline: Deadline) -> Early | None:
    try:
        change = function_of(edit)(None, edit.given)
        if change.patch is None or change.then is not None:
            return None
        version = writer.create(edit.object, change.patch, deadline).get("resourceVersion")
    except Exception:  # noqa: BLE001  the edit is made afterwards, and its error is raised then
        return None
    return Early(edit.object, change.answer, str(version)) if version else None
