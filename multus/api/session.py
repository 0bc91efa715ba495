"""The resources that plugins may use while a request is served.

``multus.api.request.Request`` is the runtime's call, read-only.  The session has the resources to
serve it: access to Kubernetes, the remaining time, the log.  Hooks get it as ``session``, invokers
as ``Invocation.session``.
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
    """The resources of one request, from its first hook to its last.

    * ``log`` writes lines that name the container and the pod.
    * ``api`` replaces the API server that the configuration names: the daemon's caches, or the
      objects of ``multus explain -f``.  It is None in a standalone call.  Plugins call
      ``multus.api.kubernetes.api_of``, which then creates a client.
    * ``deadline`` is the ``time.monotonic()`` value by which the caller needs the answer, or None.
      ``remaining`` returns the seconds left.
    * ``closing`` is a ``contextlib.ExitStack``: it is closed when the request has been served,
      after the last observer.  An error in closing is logged and does not change the answer.
    * ``once`` caches values that plugins compute for this request.
    * ``chroot`` is the path of the host's root when this process runs in a container; else empty.
      Programs of the host are started there.
    * ``meter`` receives the duration of every invocation; None without metrics.

    As a context manager it closes its resources.
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
        """The seconds until the deadline, at most *most* and never negative.

        Without a deadline it is *most*.
        """
        if self.deadline is None:
            return most
        return max(0.0, min(most, self.deadline - time.monotonic()))

    def once(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """The value of *make*, computed by the first call with *key* in this request.

        A key begins with the name of its plugin (``"multus_source_nad.devices"``), because all
        plugins share this cache.  An exception of *make* is raised here and not cached.
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
