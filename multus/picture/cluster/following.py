"""A cluster that is read again and again while somebody looks at it, by a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from attrs import evolve

from multus.api.errors import CNIError, described
from multus.picture.cluster.model import Cluster

#: A cluster is not read more often than this, in seconds, and a reading takes no more than a
#: twentieth of the time: a list of all pods is work for the API server.
_SOONEST, _SHARE = 10.0, 20.0


class Following:
    """The last state of a cluster that ``read`` gives; ``look`` never waits for it."""

    def __init__(self, name: str, read: Callable[[], Cluster]) -> None:
        self._read = read
        self._seen = Cluster(name, notes=("the API server has not answered yet",))
        self._asked = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._follow, name="cluster", daemon=True)
        self._thread.start()

    def look(self) -> Cluster:
        """What was read last; somebody looks, so that it is soon read again."""
        self._asked.set()
        return self._seen

    def close(self) -> None:
        """End the thread, soon."""
        self._stopped = True
        self._asked.set()

    def _follow(self) -> None:
        pause = threading.Event()
        while not self._stopped:
            self._asked.wait()
            self._asked.clear()
            began = time.monotonic()
            if not self._stopped:
                self._seen = self._once()
            took = time.monotonic() - began
            pause.wait(0 if self._stopped else max(_SOONEST, _SHARE * took))

    def _once(self) -> Cluster:
        """The next state; after a failure the last one, with a note."""
        try:
            return self._read()
        except CNIError as error:
            return self._after(f"{error}")
        except Exception as error:  # noqa: BLE001  the thread has to go on
            return self._after(f"internal error: {described(error)}")

    def _after(self, failure: str) -> Cluster:
        return evolve(self._seen, notes=(f"the API server was asked in vain: {failure}",))
