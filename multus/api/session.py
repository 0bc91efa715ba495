"""What plugins may use while a request is served.

``multus.api.request.Request`` is what the runtime asked for, and is read-only.  The session is what
there is to answer it with: access to Kubernetes, the time that is left, the log.  Hooks take it as
``session``, invokers find it in ``Invocation.session``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

from multus.api._closing import Closing

if TYPE_CHECKING:
    from contextlib import ExitStack
    from types import TracebackType

    from multus.api.kubernetes._interface import Api
    from multus.log import Log

_T = TypeVar("_T")


#: Takes a verb, a plugin's type, and seconds.
Meter = Callable[[str, str, float], None]


class Session:
    """The means of one request, from its first hook to its last.

    * ``log`` writes lines that name the container and the pod.
    * ``api`` answers in place of the API server that the configuration names: the daemon's caches,
      or the objects that ``multus explain -f`` was given.  It is None in a process of its own.
      Plugins ask ``multus.api.kubernetes.api_of``, which then makes a client.
    * ``deadline`` is the ``time.monotonic()`` moment by which the caller wants its answer, or None.
      ``remaining`` says how many seconds are left.
    * ``closing`` is a ``contextlib.ExitStack``: what is put on it is closed when the request has
      been served, after the last observer.  An error in closing is logged and changes no answer.
    * ``once`` remembers what plugins have computed for this request.
    * ``chroot`` is where this process sees the host's root, when it runs in a container of its own;
      empty otherwise.  Programs of the host are started in there.
    * ``meter`` is told how long every invocation took; None when it is not measured.

    As a context manager it closes what it holds.
    """

    __slots__ = ("__weakref__", "_memory", "api", "chroot", "closing", "deadline", "log", "meter")

    def __init__(
        self,
        log: Log,
        api: Api | None = None,
        deadline: float | None = None,
        chroot: str = "",
        meter: Meter | None = None,
    ) -> None:
        self.log = log
        self.api = api
        self.deadline = deadline
        self.chroot = chroot
        self.meter = meter
        self.closing: ExitStack = Closing(log)
        self._memory: dict[Hashable, Any] = {}

    def remaining(self, most: float = float("inf")) -> float:
        """How many seconds may still be used: *most*, or fewer before the deadline; never negative.

        Without a deadline it is *most*.
        """
        if self.deadline is None:
            return most
        return max(0.0, min(most, self.deadline - time.monotonic()))

    def once(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """What *make* returns, computed by the first call with *key* for this request.

        A key begins with the name of its plugin (``"multus_source_nad.devices"``), since all
        plugins share this memory.  What *make* raises is raised here, and nothing is remembered.
        """
        if key not in self._memory:
            self._memory[key] = make()
        value: _T = self._memory[key]
        return value

    def __enter__(self) -> Session:
        self.closing.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.__exit__(kind, error, trace)
