"""Clients that ask over HTTP, whose cost is bounded: one thread, which never waits for one of them.

There are 16 connections at a time, of which the oldest one gives way, 50 new ones a second, and
some seconds for each.  A connection has one request and one answer.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress

import h11
from attrs import define, field

MOST = 16
#: Pause between two new connections, in seconds: fifty a second are enough for all that look.
_PAUSE = 0.02
#: The longest turn, in seconds.
_TURN = 0.5

#: A connection and its request to the bytes of the answer, which ``as_bytes`` makes.
Answering = Callable[[h11.Connection, h11.Request], bytes]


@define(eq=False)
class _Client:
    """One connection; ``rest`` is the unsent part of the answer, None while a request is read."""

    socket: socket.socket
    until: float
    http: h11.Connection = field(factory=lambda: h11.Connection(h11.SERVER))
    rest: memoryview | None = None

    def request(self) -> h11.Request | None:
        """Read what has arrived; the request once its head is complete.

        Raises ``OSError`` or ``h11.ProtocolError``, also when the client has disconnected.
        """
        self.http.receive_data(self.socket.recv(16384))
        event = self.http.next_event()
        if event is h11.NEED_DATA:
            return None
        if not isinstance(event, h11.Request):
            raise ConnectionResetError("the client has disconnected")
        return event

    def send(self) -> bool:
        """Send as much as the socket takes; returns whether that was all."""
        assert self.rest is not None
        self.rest = self.rest[self.socket.send(self.rest) :]
        return not self.rest


class Clients:
    """Those of a listening socket, each answered by *answer* within some *seconds*."""

    def __init__(self, listener: socket.socket, answer: Answering, seconds: float) -> None:
        self._listener, self._answer, self._seconds = listener, answer, seconds
        self._each: list[_Client] = []
        self._selector = selectors.DefaultSelector()
        self.watch(listener.fileno(), self._accept)

    def watch(self, descriptor: int, changed: Callable[[], object]) -> None:
        """Call *changed* in a turn in which *descriptor* is readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, changed)

    def turn(self) -> None:
        """Do what can be done now; waits half a second at most when that is nothing."""
        for key, _ in self._selector.select(_TURN):
            if not isinstance(key.data, _Client):
                key.data()
            elif key.data in self._each:  # an earlier event may have dropped it
                self._go_on(key.data)
        now = time.monotonic()
        for client in [each for each in self._each if now > each.until]:
            self._drop(client)

    def close(self) -> None:
        """Drop all clients."""
        for client in list(self._each):
            self._drop(client)
        self._selector.close()

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            time.sleep(_PAUSE)  # the client has disconnected, or no descriptors are left
            return
        peer.setblocking(False)
        if len(self._each) >= MOST:
            self._drop(self._each[0])
        client = _Client(peer, time.monotonic() + self._seconds)
        self._each.append(client)
        self._selector.register(peer, selectors.EVENT_READ, client)
        time.sleep(_PAUSE)

    def _go_on(self, client: _Client) -> None:
        try:
            if client.rest is None:
                request = client.request()
                if request is None:
                    return
                client.rest = memoryview(self._answer(client.http, request))
                self._selector.modify(client.socket, selectors.EVENT_WRITE, client)
            if client.send():
                self._drop(client)
        except BlockingIOError:
            return
        except (OSError, h11.ProtocolError):
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        self._selector.unregister(client.socket)
        self._each.remove(client)
        with suppress(OSError):
            client.socket.close()


def as_bytes(
    http: h11.Connection, status: int, headers: list[tuple[str, str]], body: bytes
) -> bytes:
    """An answer, after which the connection ends."""
    parts = [
        http.send(h11.Response(status_code=status, headers=[*headers, ("Connection", "close")])),
        http.send(h11.Data(data=body)) if body else b"",
        http.send(h11.EndOfMessage()),
    ]
    return b"".join(part for part in parts if part)
