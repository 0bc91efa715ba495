"""Kept edits: the API process makes them as soon as the API server can be reached again.

A worker that cannot reach the API server writes down what a DEL has to change there
(``multus.kube.keptedits``), and the DEL succeeds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from multus.api.kubernetes import Deadline, Edit
from multus.kube.keptedits import Busy, KeptEdits
from multus.kube.replay import is_refused

if TYPE_CHECKING:
    from multus.kube.nodeapi import NodeApi
    from multus.log import Log

#: How often the folders are listed, and the time for one edit; seconds.
_LOOK, _EACH = 0.5, 10.0
#: The pause after an error: at first, and at most while the API server does not answer, or while it
#: refuses an edit; seconds.
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_REFUSED = 1.0, 60.0, 900.0


class _Wait(NamedTuple):
    """Until when nothing is tried, and how long that pause was."""

    due: float
    pause: float

    @classmethod
    def after(cls, earlier: _Wait | None, longest: float) -> _Wait:
        pause = min(2 * earlier.pause, longest) if earlier else _FIRST_PAUSE
        return cls(time.monotonic() + pause, pause)


class Later:
    """A thread that makes the kept edits of all *folders*, those of one object in order.

    While the API server does not answer, all edits of a folder wait, with growing pauses.  An edit
    that is refused waits alone, with those after it on its objects.  Each is told once.
    """

    def __init__(
        self, folders: Callable[[], Sequence[str]], api_of: Callable[[str], NodeApi], log: Log
    ) -> None:
        self._folders, self._api_of, self._log = folders, api_of, log
        #: By folder, and by file.
        self._waits: dict[str, _Wait] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kept edits", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Begin no more edits; returns at once."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK):
            for folder in self._folders():
                if not self._stop.is_set():
                    self.look(folder)

    def look(self, folder: str) -> None:
        """Make the edits under a ``cniDir`` that are due."""
        kept = KeptEdits(folder)
        if not self._is_due(kept.folder):
            return
        before = self._waits.get(kept.folder)
        try:
            kept.make_all(
                self._edit,
                partial(self._failed, kept),
                lambda name: self._is_due(f"{kept.folder}/{name}"),
            )
        except Exception as error:  # noqa: BLE001  no exception may end the thread
            self._away(kept, error)
        if self._waits.get(kept.folder) == before:
            self._waits.pop(kept.folder, None)
        self._forget_made(kept)

    def _is_due(self, path: str) -> bool:
        wait = self._waits.get(path)
        return wait is None or time.monotonic() >= wait.due

    def _failed(self, kept: KeptEdits, name: str, error: Exception) -> None:
        if isinstance(error, Busy) or (
            isinstance(error, ValueError) and self._is_set_aside(kept, name, error)
        ):
            return
        if not is_refused(error):
            self._away(kept, error)
            return
        path = f"{kept.folder}/{name}"
        earlier = self._waits.get(path)
        self._waits[path] = _Wait.after(earlier, _LONGEST_REFUSED)
        if earlier is None:
            self._log.error(
                "a kept change of an API object is refused: it is tried now and then, and 'multus"
                " doctor' names it until it is made, or its file is deleted",
                file=path,
                error=error,
            )
            kept.note(name, error)

    def _away(self, kept: KeptEdits, error: Exception) -> None:
        earlier = self._waits.get(kept.folder)
        self._waits[kept.folder] = _Wait.after(earlier, _LONGEST_PAUSE)
        if earlier is None:
            self._log.error(
                "kept changes of API objects cannot be made now: they are repeated",
                folder=kept.folder,
                error=error,
            )

    def _is_set_aside(self, kept: KeptEdits, name: str, error: ValueError) -> bool:
        try:
            aside = kept.set_aside(name)
        except OSError:
            return False  # a disk that is read-only, for example: it is tried again
        self._log.error(f"malformed file of kept edits: renamed to {aside}", error=error)
        return True

    def _forget_made(self, kept: KeptEdits) -> None:
        there = {kept.folder, *(f"{kept.folder}/{name}" for name in kept.names())}
        within = [each for each in self._waits if each.startswith(kept.folder)]
        for path in within:
            if path not in there:
                del self._waits[path]

    def _edit(self, kubeconfig: str, edits: Sequence[Edit]) -> Sequence[object]:
        return self._api_of(kubeconfig).edit_each(edits, Deadline.after(_EACH))
