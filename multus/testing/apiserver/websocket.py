"""The streams of a command over WebSocket: ``v4.channel.k8s.io`` and ``v5.channel.k8s.io``."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Request,
)

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
#: Only in v5: the channel that follows in the message has ended.
_CLOSE = 255


class WebSocket:
    """A WebSocket that a client has asked for by *headers* of a request for *path*."""

    def __init__(
        self, connection: socket.socket, path: str, headers: Iterable[tuple[str, str]]
    ) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._messages = WSConnection(ConnectionType.SERVER)
        self._messages.initiate_upgrade_connection(
            [(name.lower().encode(), value.encode()) for name, value in headers], path
        )
        request = next(self._messages.events())
        assert isinstance(request, Request)
        chosen = [each for each in _PROTOCOLS if each in request.subprotocols]
        self._send(AcceptConnection(subprotocol=chosen[0] if chosen else None))
        self._begun = b""

    def send(self, channel: int, data: bytes) -> None:
        self._send(BytesMessage(bytes([channel]) + data))

    def end(self) -> None:
        self._send(CloseConnection(1000))

    def _send(self, event: Event) -> None:
        with self._lock:
            self._connection.sendall(self._messages.send(event))

    def receive(self) -> tuple[int, bytes] | None:
        while True:
            for event in self._messages.events():
                if isinstance(event, CloseConnection):
                    return None
                if isinstance(event, Ping):
                    self._send(event.response())
                elif isinstance(event, BytesMessage):
                    self._begun += event.data
                    if event.message_finished:
                        message, self._begun = bytes(self._begun), b""
                        if message[0] == _CLOSE:
                            return message[1], b""
                        if len(message) > 1:
                            return message[0], message[1:]
            data = self._connection.recv(65536)
            if not data:
                return None
            with self._lock:
                self._messages.receive_data(data)
