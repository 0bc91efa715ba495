"""The metrics over HTTP at a port of the loopback address, for a scraper on this node.

Any user of the node may connect, so the cost of clients is bounded: one thread that never blocks on
a client, 16 connections at a time, 50 new ones a second, two seconds for each, and a text that is
generated at most once a second.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable

import h11
from attrs import define, field

from multus.api.errors import IOFailure, described

_MOST = 16
_SECONDS = 2.0
#: Pause between two new connections.
_PAUSE = 0.02
_FRESH = 1.0
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@define(eq=False)
class _Client:
    """One connection; ``answer`` is the unsent rest, None while the request is being read."""

    socket: socket.socket
    until: float
    http: h11.Connection = field(factory=lambda: h11.Connection(h11.SERVER))
    answer: bytes | None = None

    def request(self) -> h11.Request | None:
        """Read what has arrived; returns the request once it is complete.

        Raises ``OSError`` or ``h11.ProtocolError``, also when the client has disconnected.
        """
        self.http.receive_data(self.socket.recv(4096))
        event = self.http.next_event()
        if event is h11.NEED_DATA:
            return None
        if not isinstance(event, h11.Request):
            raise ConnectionResetError("the client has disconnected")
        return event

    def send(self) -> bool:
        """Send as much as the socket takes; returns whether that was all."""
        assert self.answer is not None
        self.answer = self.answer[self.socket.send(self.answer) :]
        return not self.answer


class MetricsPage:
    """Serves the result of *text* over HTTP, in its own thread."""

    def __init__(self, port: int, text: Callable[[], bytes]) -> None:
        self._text = text
        self._made, self._made_at = (200, b""), float("-inf")
        self._clients: list[_Client] = []
        self._closing = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise IOFailure(
                f"cannot serve the metrics at 127.0.0.1:{port}: {error.strerror}",
                fix="give 'metricsPort' another number",
            ) from error
        self._listener.listen(_MOST)
        self._listener.setblocking(False)
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)

    def start(self) -> None:
        """Start the thread; raises ``IOFailure`` when that fails."""
        try:
            self._thread.start()
        except RuntimeError as error:
            raise IOFailure(f"cannot serve the metrics: {error}") from error

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_SECONDS)
        self._listener.close()

    def _serve(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        while not self._closing.is_set():
            for key, _ in self._selector.select(0.5):
                # An earlier event of this turn may have dropped the client.
                if key.data is None:
                    self._accept()
                elif key.data in self._clients:
                    self._go_on(key.data)
            now = time.monotonic()
            for client in [each for each in self._clients if now > each.until]:
                self._drop(client)

    def _accept(self) -> None:
        try:
            peer, _address = self._listener.accept()
        except OSError:
            self._closing.wait(_PAUSE)  # the client has disconnected, or no descriptors are left
            return
        peer.setblocking(False)
        if len(self._clients) >= _MOST:
            self._drop(self._clients[0])
        client = _Client(peer, time.monotonic() + _SECONDS)
        self._clients.append(client)
        self._selector.register(peer, selectors.EVENT_READ, client)
        self._closing.wait(_PAUSE)

    def _go_on(self, client: _Client) -> None:
        try:
            if client.answer is None:
                request = client.request()
                if request is None:
                    return
                client.answer = self._answer(client.http, request)
                self._selector.modify(client.socket, selectors.EVENT_WRITE, client)
            if client.send():
                self._drop(client)
        except BlockingIOError:
            return
        except (OSError, h11.ProtocolError):
            self._drop(client)

    def _answer(self, http: h11.Connection, request: h11.Request) -> bytes:
        now = time.monotonic()
        if now - self._made_at > _FRESH:
            self._made, self._made_at = self._make(), now
        status, text = self._made
        length = str(len(text))
        headers = [("Content-Type", _TYPE), ("Content-Length", length), ("Connection", "close")]
        parts = [
            http.send(h11.Response(status_code=status, headers=headers)),
            http.send(h11.Data(data=b"" if request.method == b"HEAD" else text)),
            http.send(h11.EndOfMessage()),
        ]
        return b"".join(part for part in parts if part)

    def _make(self) -> tuple[int, bytes]:
        try:
            return 200, self._text()
        except Exception as error:  # noqa: BLE001  the thread has to serve the next scrape
            return 500, f"the metrics cannot be read: {described(error)}\n".encode()

    def _drop(self, client: _Client) -> None:
        self._selector.unregister(client.socket)
        self._clients.remove(client)
        client.socket.close()
