"""The plugins' upkeep: every few seconds, plugins put in order what they keep on this node.

It needs what the API process has: each API server that the node knows, with its caches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from multus.api.conf import Conf
from multus.api.session import Session

if TYPE_CHECKING:
    from multus.api.errors import CNIError
    from multus.daemon.settings import Settings
    from multus.kube.nodeapi import NodeApi
    from multus.log import Log
    from multus.registry.hooks import Hooks

#: The pause between two rounds; after an error, at most the second number.  The time for one call.
_PAUSE, _LONGEST_PAUSE, _SECONDS = 1.0, 60.0, 30.0


class Upkeep:
    """A thread that calls ``multus_upkeep`` for all *folders* and all of *apis*.

    *apis* are pairs: the ``kubeconfig`` of configurations, "" for all of them, and the API server.
    """

    def __init__(
        self,
        settings: Settings,
        hooks: Hooks,
        folders: Callable[[], Sequence[str]],
        apis: Callable[[], Iterable[tuple[str, NodeApi]]],
        log: Log,
    ) -> None:
        self._settings, self._hooks, self._log = settings, hooks, log
        self._folders, self._apis = folders, apis
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin, unless no plugin has anything to put in order."""
        if self._hooks.parts("multus_upkeep"):
            self._thread.start()

    def close(self) -> None:
        """Begin no further round; returns at once."""
        self._stop.set()

    def _run(self) -> None:
        pause, told = _PAUSE, ""
        while not self._stop.wait(pause):
            try:
                problem = "; ".join(map(str, self.round()))
            except Exception as error:  # noqa: BLE001  no exception may end the thread
                problem = f"{type(error).__name__}: {error}"
            pause = min(2 * pause, _LONGEST_PAUSE) if problem else _PAUSE
            if problem and problem != told:
                self._log.error("the upkeep of a plugin failed: it is repeated", error=problem)
            told = problem

    def round(self) -> list[CNIError]:
        """One call of each plugin for each folder and server; returns the errors."""
        found: list[CNIError] = []
        for folder in self._folders():
            for kubeconfig, api in self._apis():
                raw = {"name": "multus", "type": "multus", "cniDir": folder}
                conf = Conf.from_wire({**raw, **({"kubeconfig": kubeconfig} if kubeconfig else {})})
                deadline = time.monotonic() + _SECONDS
                with Session(self._log, api=api, deadline=deadline) as session:
                    found += self._hooks.upkeep(conf, session, self._settings.heal_grace)
        return found
