"""Kept edits: the API process makes them as soon as the API server can be reached again.

A worker that cannot reach the API server writes down what a DEL has to change there
(``multus.kube.keptedits``), and the DEL succeeds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from multus.api.kubernetes import Deadline, Edit
from multus.kube.keptedits import Busy, KeptEdits

if TYPE_CHECKING:
    from multus.kube.nodeapi import NodeApi
    from multus.log import Log

#: How often the folders are listed, and the time for one edit; seconds.
_LOOK, _EACH = 0.5, 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class Later:
    """A thread that makes the kept edits of all *folders*, those of one object in order.

    An edit that fails is repeated, with growing pauses, and so are those after it on its objects.
    """

    def __init__(
        self, folders: Callable[[], Sequence[str]], api_of: Callable[[str], NodeApi], log: Log
    ) -> None:
        self._folders, self._api_of, self._log = folders, api_of, log
        self._pauses: dict[str, tuple[float, float]] = {}
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
                try:
                    self._make(KeptEdits(folder))
                except Exception as error:  # noqa: BLE001  no exception may end the thread
                    self._log.error(f"the edits kept under {folder} cannot be made", error=error)

    def _make(self, kept: KeptEdits) -> None:
        due, pause = self._pauses.get(kept.folder, (0.0, _FIRST_PAUSE))
        if time.monotonic() < due or self._stop.is_set():
            return
        self._pauses.pop(kept.folder, None)

        def told(name: str, error: Exception) -> None:
            if isinstance(error, Busy):
                return
            if isinstance(error, ValueError):
                aside = kept.set_aside(name)
                self._log.error(f"malformed file of kept edits: renamed to {aside}", error=error)
                return
            self._pauses[kept.folder] = time.monotonic() + pause, min(2 * pause, _LONGEST_PAUSE)
            self._log.error(
                "a change of an API object could not be made: it is repeated",
                file=f"{kept.folder}/{name}",
                seconds=pause,
                error=error,
            )

        kept.make_all(self._edit, told)

    def _edit(self, kubeconfig: str, edit: Edit) -> None:
        self._api_of(kubeconfig).edit(edit, Deadline.after(_EACH))
