"""The metrics over HTTP at one address, for a scraper on this node or in the cluster.

Anyone who reaches the address may connect, so the cost of clients is bounded: one thread that never
blocks on a client, 16 connections at a time, 50 new ones a second, two seconds for each, and a text
that is generated at most once a second.

No call waits for the metrics: an address that cannot be bound is logged, and tried again.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import h11
from attrs import define, field

from multus.api.errors import IOFailure, described

if TYPE_CHECKING:
    from multus.log import Log

_MOST = 16
_SECONDS = 2.0
#: Pause between two new connections.
_PAUSE = 0.02
_FRESH = 1.0
#: Pause between two attempts to bind the address, in seconds.
_AGAIN = 10.0
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


def shown(address: str, port: int) -> str:
    """The address as it stands in a URL."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class MetricsPage:
    """Serves the result of *text* over HTTP, in its own thread.

    *address* is one of this node, or ``0.0.0.0`` or ``::`` for all.  ``bound`` is the port, 0 as
    long as the address cannot be bound.
    """

    def __init__(self, address: str, port: int, text: Callable[[], bytes], log: Log) -> None:
        self._address, self._port = address, port
        self._text = text
        self._log = log
        self.bound = 0
        self._made, self._made_at = (200, b""), float("-inf")
        self._clients: list[_Client] = []
        self._closing = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._listener.family == socket.AF_INET6:
            self._listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
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

    def _listen(self) -> None:
        """Bind the address, and listen; tries until it succeeds, or until the page is closed."""
        told = ""
        while not self._closing.is_set():
            try:
                self._listener.bind((self._address, self._port))
                self._listener.listen(_MOST)
            except OSError as error:
                where = shown(self._address, self._port)
                said = f"cannot serve the metrics at {where}: {error.strerror}: tried again"
                if said != told:
                    told = said
                    fix = "give 'metricsPort' another number, or 'metricsAddress' another address"
                    self._log.error(said, fix=fix)
                self._closing.wait(_AGAIN)
            else:
                self.bound = self._listener.getsockname()[1]
                return

    def _serve(self) -> None:
        self._listen()
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
