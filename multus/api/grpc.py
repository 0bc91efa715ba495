"""One gRPC call over a Unix socket: the kubelet and container runtimes answer there.

gRPC is HTTP/2 with five bytes before each message.  h2 implements HTTP/2; messages are read field
by field (docs/decisions/kube-client.md has the reasons).  h2 is imported when a call is made: it
takes longer to import than the call takes, and the core alone does not bring it.

Source: gRPC over HTTP2; the Protocol Buffers encoding.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from h2.connection import H2Connection

    from multus.api.kubernetes import Deadline

_LARGEST = 64 * 1024 * 1024
_EMPTY_MESSAGE = bytes(5)


class CallFailed(Exception):
    """The call had no answer, or one that cannot be read; its text says why."""


def call(path: str, method: str, deadline: Deadline) -> bytes:
    """The answer to *method* without arguments, a serialized message; raises ``CallFailed``.

    *path* is the socket, *method* ``/package.Service/Method``.  Raises ``ImportError`` without h2.
    """
    from h2.exceptions import ProtocolError

    try:
        return _call(path, method, deadline)
    except (OSError, ProtocolError, ValueError, IndexError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CallFailed(reason) from error


def _call(path: str, method: str, deadline: Deadline) -> bytes:
    from h2.config import H2Configuration
    from h2.connection import H2Connection

    connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(max(0.001, deadline.remaining()))
        stream.connect(path)
        connection.initiate_connection()
        connection.send_headers(
            1,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", "localhost"),
                (":path", method),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
            ],
        )
        connection.send_data(1, _EMPTY_MESSAGE, end_stream=True)
        stream.sendall(connection.data_to_send())
        headers, body = _answer(stream, connection, deadline)
    if headers.get(":status") != "200" or headers.get("grpc-status", "0") != "0":
        raise OSError(
            f"gRPC status {headers.get('grpc-status', '(none)')}"
            f" {headers.get('grpc-message', '')}".rstrip()
        )
    return _message(body)


def _answer(
    stream: socket.socket, connection: H2Connection, deadline: Deadline
) -> tuple[dict[str, str], bytes]:
    """All headers, trailers included, and the body of stream 1."""
    from h2 import events

    headers: dict[str, str] = {}
    body = bytearray()
    while True:
        stream.settimeout(max(0.001, deadline.remaining()))
        received = stream.recv(65536)
        if not received:
            raise OSError("the connection was closed before the answer was complete")
        for event in connection.receive_data(received):
            if isinstance(event, events.ResponseReceived | events.TrailersReceived):
                headers.update((str(key), str(value)) for key, value in event.headers or ())
            elif isinstance(event, events.DataReceived):
                body += event.data or b""
                connection.acknowledge_received_data(event.flow_controlled_length or 0, 1)
            elif isinstance(event, events.StreamReset | events.ConnectionTerminated):
                raise OSError(f"the call was reset (HTTP/2 error {event.error_code})")
            elif isinstance(event, events.StreamEnded):
                return headers, bytes(body)
        if len(body) > _LARGEST:
            raise OSError(f"the answer is larger than {_LARGEST} bytes")
        _send(stream, connection)


def _send(stream: socket.socket, connection: H2Connection) -> None:
    """Send pending HTTP/2 control frames: acknowledgements, window updates."""
    try:
        stream.sendall(connection.data_to_send())
    except ConnectionError:
        return  # the server has closed the connection; its answer can still be read


def _message(body: bytes) -> bytes:
    """The one message of a body: a flag for compression, four bytes of length, the message."""
    if len(body) < 5 or body[0] != 0:
        raise ValueError("the answer is not an uncompressed gRPC message")
    size = int.from_bytes(body[1:5], "big")
    if len(body) != 5 + size:
        raise ValueError("the answer is not one gRPC message")
    return body[5:]


# --- Protocol buffers ----------------------------------------------------------------------------


def text_of(message: bytes, number: int) -> str:
    """The string field with this *number*, "" when it is missing; raises ``ValueError``."""
    return b"".join(list(messages_of(message, number))[-1:]).decode()


def messages_of(message: bytes, number: int) -> Iterator[bytes]:
    """The length-delimited fields with this *number* (wire type 2).

    Raises ``ValueError`` or ``IndexError`` for a malformed message.
    """
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == 0:
            _, position = _varint(message, position)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        elif kind == 2:
            size, position = _varint(message, position)
            if position + size > len(message):
                raise ValueError("a message is truncated")
            if tag >> 3 == number:
                yield message[position : position + size]
            position += size
        else:
            raise ValueError(f"unknown wire type {kind}")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
