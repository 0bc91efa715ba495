"""A connection on its way to a whole message."""

from __future__ import annotations

import socket

from multus.cni.shim import Answer
from multus.daemon import wire

#: How long a client may take to take its answer, in seconds.
PATIENCE = 10.0
_CHUNK = 1 << 16


class Gone(Exception):
    """The client went away before its message was whole."""


class Connection:
    """One client: first read without waiting by the server's loop, then answered by a worker.

    ``began`` is the ``time.monotonic()`` moment at which it was accepted; *data* is what another
    process has read of it.
    """

    def __init__(self, peer: socket.socket, began: float, data: bytes = b"") -> None:
        self.socket = peer
        self.began = began
        self._data = bytearray(data)
        self._expected = wire.HEADER

    @property
    def data(self) -> bytes:
        """What was received so far."""
        return bytes(self._data)

    @property
    def held(self) -> int:
        """Bytes received so far."""
        return len(self._data)

    def read(self) -> wire.Received | None:
        """Take what is there; the message once it is whole.

        Raises ``Gone``, and ``wire.Malformed`` as soon as the header is wrong.
        """
        while True:
            if len(self._data) >= wire.HEADER == self._expected:
                self._expected = wire.length_of(self._data)
            if len(self._data) >= max(self._expected, wire.HEADER):
                return wire.Received(bytes(self._data))
            try:
                # A client sends one message: nothing that follows it is anybody's.
                chunk = self.socket.recv(_CHUNK)
            except BlockingIOError:
                return None
            except OSError as error:
                raise Gone(str(error)) from error
            if not chunk:
                raise Gone(f"after {len(self._data)} bytes")
            self._data += chunk

    def is_there(self) -> bool:
        """Whether the client still waits for its answer."""
        try:
            return self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def answer(self, answer: Answer, patience: float = PATIENCE) -> bool:
        """Send the answer and hang up; whether the client took it."""
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
        """The same without waiting, for an answer that fits into any socket's buffer."""
        return self.answer(answer, 0.0)

    def close(self) -> None:
        self.socket.close()


def plain(text: str) -> bytes:
    """*text* without what would need an escape in JSON, and short."""
    cleaned = "".join(each if each.isprintable() and each not in '"\\' else "'" for each in text)
    return cleaned[:1000].encode("ascii", "replace")
