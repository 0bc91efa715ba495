"""A client's connection: reads its message, sends the answer."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

from multus.cni.shim import LEFT, Answer
from multus.daemon import wire

#: Timeout for sending an answer, in seconds.
PATIENCE = 10.0
_CHUNK = 1 << 16
#: How a request over HTTP begins; no message of ``multus.daemon.wire`` does.
_HTTP = (b"GET ", b"POST", b"HEAD", b"PUT ", b"PATC", b"DELE", b"OPTI")


class Gone(Exception):
    """The client disconnected before its message was complete."""


class OverHTTP(Exception):
    """The client speaks HTTP: ``multus.daemon.httpconnection`` reads its request."""


class Counted(NamedTuple):
    """A request as the metrics count it."""

    handler: str
    method: str
    code: str


class Served(Exception):
    """The request needs no call: *response* answers it."""

    def __init__(self, response: bytes, counted: Counted) -> None:
        super().__init__(f"{counted.method} {counted.handler}: {counted.code}")
        self.response = response
        self.counted = counted


class Connection:
    """One client: the server's loop reads its message without blocking, a worker answers it.

    ``began`` is the ``time.monotonic()`` time of the accept.  *data* is what another process has
    already read.
    """

    #: Whether the client waits for the next daemon when its call is left to it.
    waits = True

    def __init__(self, peer: socket.socket, began: float, data: bytes = b"") -> None:
        self.socket = peer
        self.began = began
        self._data = bytearray(data)
        self._expected = wire.HEADER

    @property
    def data(self) -> bytes:
        """The bytes received so far."""
        return bytes(self._data)

    @property
    def held(self) -> int:
        """The number of bytes received so far."""
        return len(self._data)

    def read(self) -> wire.Received | None:
        """Read what has arrived; returns the message once it is complete.

        Raises ``Gone``, ``OverHTTP``, and ``wire.Malformed`` as soon as the header is wrong.
        """
        while True:
            if self._data[:4] in _HTTP:
                raise OverHTTP
            if len(self._data) >= wire.HEADER == self._expected:
                self._expected = wire.length_of(self._data)
            if len(self._data) >= max(self._expected, wire.HEADER):
                return wire.Received(bytes(self._data))
            try:
                # A client sends one message: bytes after it are ignored.
                chunk = self.socket.recv(_CHUNK)
            except BlockingIOError:
                return None
            except OSError as error:
                raise Gone(str(error)) from error
            if not chunk:
                raise Gone(f"after {len(self._data)} bytes")
            self._data += chunk

    def is_there(self) -> bool:
        """Whether the client is still connected."""
        try:
            return self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def answer(self, answer: Answer, patience: float = PATIENCE) -> bool:
        """Send the answer and close; returns whether the client took it."""
        return self.send(self.encoded(answer), patience)

    def send(self, response: bytes, patience: float = 0.0) -> bool:
        """Send *response* and close; returns whether the client took it."""
        try:
            self.socket.settimeout(patience)
            self.socket.sendall(response)
        except OSError:
            return False
        finally:
            self.socket.close()
        return True

    def answer_at_once(self, answer: Answer) -> bool:
        """Send an answer that fits into any socket's buffer, without blocking."""
        return self.answer(answer, 0.0)

    def leave_to_client(self) -> bool:
        """Have the client carry its call out, which has not begun; whether it was told."""
        return self.answer_at_once((LEFT, b""))

    def close(self) -> None:
        self.socket.close()

    # --- What depends on the protocol ------------------------------------------------------------

    @property
    def head(self) -> Mapping[str, Any]:
        """What the worker of its call has to know beside the message."""
        return {}

    def encoded(self, answer: Answer) -> bytes:
        """The answer as bytes."""
        status, stdout = answer
        return wire.Message(wire.ANSWER, stdout, status=status).encode()

    def counted(self, command: str, code: str) -> Counted:
        """How the metrics count its call of *command*, which ended with the CNI code *code*."""
        return Counted("/cni", command, code)

    def keep(self, command: str, message: wire.Message) -> bool:
        """Keep a call that failed on disk, for later; whether that was done.

        A shim of ours reports the failure, and the runtime repeats the call.
        """
        return False

    def counted_control(self, answer: Answer) -> Counted | None:
        """How the metrics count its control request; None when they do not."""
        return None


def plain(text: str) -> bytes:
    """*text* without characters that JSON has to escape, at most 1000 bytes."""
    cleaned = "".join(each if each.isprintable() and each not in '"\\' else "'" for each in text)
    return cleaned[:1000].encode("ascii", "replace")
