"""When a warm engine ends: idle for a while, outdated, or told to; without refusing a call.

The socket goes first.  Clients that connected before it went are served, then the engine ends.  A
client that came in between loses its connection, and its shim carries the call out in place.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multus.daemon.calls import Calls

#: How long clients are accepted after the socket has gone, in seconds.
_LAST_CLIENTS = 0.1


class Leaving:
    """The end of the engine at the socket *path*, which may be idle for *seconds*."""

    def __init__(self, path: str, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._since = 0.0

    @property
    def begun(self) -> bool:
        return bool(self._since)

    def described(self) -> str:
        """What the engine says of itself to whoever asks for its health."""
        return f"ok: a warm engine, process {os.getpid()}, ends after {self._seconds:g} s idle"

    def begin(self, now: float) -> None:
        """Let no more clients come; an engine that a later call leaves has another socket."""
        if not self._since:
            self._since = now
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def tick(self, now: float, calls: Calls) -> None:
        """Begin when there is a reason."""
        if calls.outdated or (calls.idle and now - calls.last_call > self._seconds):
            self.begin(now)
        if self._since:
            calls.keep_no_front()

    def over(self, now: float) -> bool:
        """Whether no client can come any more."""
        return bool(self._since) and now - self._since > _LAST_CLIENTS
