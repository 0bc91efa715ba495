"""The kubelet's pod-resources API: one gRPC call over a Unix socket.

gRPC is HTTP/2 with five bytes before each message.  h2 implements HTTP/2; this module decodes the
few needed fields of the message (docs/decisions/kube-client.md has the reasons).

Source: kubernetes k8s.io/kubelet/pkg/apis/podresources/v1 (api.proto); gRPC over HTTP2.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from multus.api.errors import TryAgainLater

if TYPE_CHECKING:
    from multus.api.kubernetes import Deadline

_METHOD = "/v1.PodResourcesLister/List"
_LARGEST = 64 * 1024 * 1024
_EMPTY_MESSAGE = bytes(5)


def containers_of(
    path: str, namespace: str, name: str, deadline: Deadline
) -> list[dict[str, list[str]]]:
    """The device IDs of a pod's containers, by resource, as the kubelet at socket *path* has them.

    Containers and devices are in the kubelet's order.  Raises ``TryAgainLater``.
    """
    try:
        listed = _call(path, deadline)
        return _containers(listed, namespace, name)
    except (OSError, ProtocolError, ValueError, IndexError) as error:
        raise TryAgainLater(
            f"the kubelet's devices of pod {namespace}/{name} cannot be read from {path}:"
            f" {error or type(error).__name__}",
            fix="check that the kubelet runs",
        ) from error


# --- gRPC ----------------------------------------------------------------------------------------


def _call(path: str, deadline: Deadline) -> bytes:
    """The answer to ``List``, a serialized ``ListPodResourcesResponse``."""
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
                (":path", _METHOD),
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
    headers: dict[str, str] = {}
    body = bytearray()
    while True:
        stream.settimeout(max(0.001, deadline.remaining()))
        received = stream.recv(65536)
        if not received:
            raise OSError("the connection was closed before the answer was complete")
        for event in connection.receive_data(received):
            if isinstance(event, ResponseReceived | TrailersReceived):
                headers.update((str(key), str(value)) for key, value in event.headers or ())
            elif isinstance(event, DataReceived):
                body += event.data or b""
                connection.acknowledge_received_data(event.flow_controlled_length or 0, 1)
            elif isinstance(event, StreamReset | ConnectionTerminated):
                raise OSError(f"the call was reset (HTTP/2 error {event.error_code})")
            elif isinstance(event, StreamEnded):
                return headers, bytes(body)
        if len(body) > _LARGEST:
            raise OSError(f"the answer is larger than {_LARGEST} bytes")
        _send(stream, connection)


def _send(stream: socket.socket, connection: H2Connection) -> None:
    """Send pending HTTP/2 control frames: acknowledgements, window updates."""
    try:
        stream.sendall(connection.data_to_send())
    except ConnectionError:
        return  # the kubelet has closed the connection; its answer can still be read


def _message(body: bytes) -> bytes:
    """The one message of a body: a flag for compression, four bytes of length, the message."""
    if len(body) < 5 or body[0] != 0:
        raise ValueError("the answer is not an uncompressed gRPC message")
    size = int.from_bytes(body[1:5], "big")
    if len(body) != 5 + size:
        raise ValueError("the answer is not one gRPC message")
    return body[5:]


# --- Protocol buffers ----------------------------------------------------------------------------


def _containers(listed: bytes, namespace: str, name: str) -> list[dict[str, list[str]]]:
    """ListPodResourcesResponse.pod_resources[].containers[].devices[]."""
    found = []
    for pod in _messages(listed, 1):
        if (_text(pod, 1), _text(pod, 2)) != (name, namespace):
            continue
        for container in _messages(pod, 3):
            by_resource: dict[str, list[str]] = {}
            for devices in _messages(container, 2):
                ids = [each.decode() for each in _messages(devices, 2)]
                by_resource.setdefault(_text(devices, 1), []).extend(ids)
            found.append(by_resource)
    return found


def _text(message: bytes, number: int) -> str:
    return b"".join(list(_messages(message, number))[-1:]).decode()


def _messages(message: bytes, number: int) -> Iterator[bytes]:
    """The length-delimited fields with this *number* (protobuf encoding, wire type 2)."""
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
