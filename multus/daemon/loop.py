"""One thread's loop: what becomes readable is handed to whoever added it."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Callable

from multus.daemon.channel import Channel

#: What can be waited for.
Readable = socket.socket | Channel


class Loop:
    """Things to listen to, and a way to be woken from signal handlers."""

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
        # It may be full of wake-ups, or closed already.
        with contextlib.suppress(OSError):
            self._wake_out.send(b"x")

    def add(self, readable: Readable, call: Callable[[], object]) -> None:
        """Call *call* whenever *readable* can be read."""
        self._selector.register(readable, selectors.EVENT_READ, call)

    def remove(self, readable: Readable) -> None:
        """Stop listening; to be called before it is closed."""
        self._selector.unregister(readable)

    def turn(self, seconds: float) -> None:
        """Wait for at most *seconds*, and serve what can be read."""
        for key, _ in self._selector.select(seconds):
            # What was served before may have removed it.
            if self._selector.get_map().get(key.fd) is key:
                key.data()

    def close(self) -> None:
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()
