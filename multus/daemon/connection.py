"""A client's connection: reads its message, sends the answer."""

from __future__ import annotations

import socket

from multus.cni.shim import Answer
from multus.daemon import wire

#: Timeout for sending an answer, in seconds.
PATIENCE = 10.0
_CHUNK = 1 << 16


class Gone(Exception):
    """The client disconnected before its message was complete."""


class Connection:
    """One client: the server's loop reads its message without blocking, a worker answers it.

    ``began`` is the ``time.monotonic()`` time of the accept.  *data* is what another process has
    already read.
    """

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

        Raises ``Gone``, and ``wire.Malformed`` as soon as the header is wrong.
        """
        while True:
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
        status, stdout = answer
        try:
            self.socket.settimeout(patience)
            self.socket.sendall(wire.Message(wire.ANSWER, stdout, status=status).encode())
        except OSError:
            return False
        finally:
            self.socket.close()
        return True

    def answer_at_once(self, answer: Answer) -> bool:
        """Send an answer that fits into any socket's buffer, without blocking."""
        return self.answer(answer, 0.0)

    def close(self) -> None:
        self.socket.close()


def plain(text: str) -> bytes:
    """*text* without characters that JSON has to escape, at most 1000 bytes."""
    cleaned = "".join(each if each.isprintable() and each not in '"\\' else "'" for each in text)
    return cleaned[:1000].encode("ascii", "replace")
