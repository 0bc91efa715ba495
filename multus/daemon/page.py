"""The metrics at a port of the loopback address, for a scraper on this node.

Any user of the node may connect, so what a client can cost is bounded: one thread, few connections
at a time, a few new ones a second, two seconds for each, and a text that is made once a second.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable

import h11

from multus.errors import IOFailure

_MOST = 16
_SECONDS = 2.0
#: Pause between two new connections.
_PAUSE = 0.02
_FRESH = 1.0
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsPage:
    """Serves what *text* returns, by HTTP, in a thread of its own."""

    def __init__(self, port: int, text: Callable[[], bytes]) -> None:
        self._text = text
        self._made, self._made_at = b"", float("-inf")
        self._clients: dict[socket.socket, tuple[h11.Connection, float]] = {}
        self._closing = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise IOFailure(
                f"cannot show the metrics at 127.0.0.1:{port}: {error.strerror}: give"
                " 'metricsPort' another number"
            ) from error
        self._listener.listen(_MOST)
        self._listener.setblocking(False)
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(_SECONDS)
        self._listener.close()

    def _serve(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        while not self._closing.is_set():
            for key, _ in self._selector.select(0.5):
                peer = key.fileobj
                assert isinstance(peer, socket.socket)
                with contextlib.suppress(OSError):
                    self._accept() if peer is self._listener else self._read(peer)
            now = time.monotonic()
            for peer in [each for each, (_, until) in self._clients.items() if now > until]:
                self._drop(peer)

    def _accept(self) -> None:
        peer, _address = self._listener.accept()
        peer.setblocking(False)
        if len(self._clients) >= _MOST:
            self._drop(next(iter(self._clients)))
        self._clients[peer] = h11.Connection(h11.SERVER), time.monotonic() + _SECONDS
        self._selector.register(peer, selectors.EVENT_READ)
        self._closing.wait(_PAUSE)

    def _read(self, peer: socket.socket) -> None:
        connection, until = self._clients[peer]
        try:
            connection.receive_data(peer.recv(4096))
            event = connection.next_event()
        except (OSError, h11.RemoteProtocolError):
            self._drop(peer)
            return
        if event is h11.NEED_DATA:
            return
        if isinstance(event, h11.Request):
            answer = self._answer(connection)
            peer.settimeout(max(0.01, until - time.monotonic()))
            with contextlib.suppress(OSError):
                peer.sendall(answer)
        self._drop(peer)

    def _answer(self, connection: h11.Connection) -> bytes:
        now = time.monotonic()
        if now - self._made_at > _FRESH:
            self._made, self._made_at = self._text(), now
        length = str(len(self._made))
        headers = [("Content-Type", _TYPE), ("Content-Length", length), ("Connection", "close")]
        parts = [
            connection.send(h11.Response(status_code=200, headers=headers)),
            connection.send(h11.Data(data=self._made)),
            connection.send(h11.EndOfMessage()),
        ]
        return b"".join(part for part in parts if part)

    def _drop(self, peer: socket.socket) -> None:
        self._selector.unregister(peer)
        del self._clients[peer]
        peer.close()
