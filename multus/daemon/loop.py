"""An event loop for one thread: it calls a function when a socket or channel becomes readable."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Callable

from multus.daemon.channel import Channel

#: What the loop can wait for.
Readable = socket.socket | Channel


class Loop:
    """A selector with callbacks; signal handlers can wake it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self.add(self._wake_in, lambda: self._wake_in.recv(4096))

    @property
    def wakeup(self) -> int:
        """A descriptor for ``signal.set_wakeup_fd``."""
        return self._wake_out.fileno()

    def wake(self) -> None:
        """End the current turn soon; for signal handlers and other threads."""
        # The socket may be full, or closed already.
        with contextlib.suppress(OSError):
            self._wake_out.send(b"x")

    def add(self, readable: Readable, call: Callable[[], object]) -> None:
        """Call *call* whenever *readable* is readable."""
        self._selector.register(readable, selectors.EVENT_READ, call)

    def remove(self, readable: Readable) -> None:
        """Stop listening; call this before *readable* is closed."""
        self._selector.unregister(readable)

    def turn(self, seconds: float) -> None:
        """Wait at most *seconds*, then call the functions of what is readable."""
        for key, _ in self._selector.select(seconds):
            # An earlier call of this turn may have removed it.
            if self._selector.get_map().get(key.fd) is key:
                key.data()

    def close(self) -> None:
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()
