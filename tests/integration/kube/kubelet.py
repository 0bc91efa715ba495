"""Stand-ins for the kubelet's pod-resources socket and for a runtime's CRI socket.

Both speak gRPC over HTTP/2 on a Unix socket.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded

#: namespace/name -> the containers, each resource -> device IDs.  A mapping in place of the list
#: has one container for each resource.
Pods = Mapping[str, Mapping[str, list[str]] | Sequence[Mapping[str, list[str]]]]


def listed(pods: Pods) -> bytes:
    """A serialized ``ListPodResourcesResponse`` (k8s.io/kubelet podresources v1)."""
    answer = b""
    for pod, resources in pods.items():
        namespace, _, name = pod.partition("/")
        by_container = (
            [{resource: ids} for resource, ids in resources.items()]
            if isinstance(resources, Mapping)
            else resources
        )
        containers = b"".join(_container(number, each) for number, each in enumerate(by_container))
        answer += _field(1, _field(1, name.encode()) + _field(2, namespace.encode()) + containers)
    return answer


def _container(number: int, resources: Mapping[str, list[str]]) -> bytes:
    # NUMA topology (field 3) and CPU numbers (field 3 of the container, packed): readers skip them.
    topology = _field(3, _field(1, b"\x08\x00"))
    devices = b"".join(
        _field(
            2,
            _field(1, resource.encode()) + b"".join(_field(2, i.encode()) for i in ids) + topology,
        )
        for resource, ids in resources.items()
    )
    return _field(3, _field(1, b"c%d" % number) + devices + _field(3, bytes([1, 2])))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


class Kubelet:
    """Serves ``List`` in a thread; ``fault`` is one of "", status, cut, garbage, reset, slow."""

    method = "/v1.PodResourcesLister/List"

    def __init__(self, folder: str, pods: Pods, fault: str = "") -> None:
        self.path = os.path.join(folder, "pod-resources", "kubelet.sock")
        self.calls = 0
        self._body, self._fault = listed(pods), fault
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Kubelet:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        # A blocked accept() returns when its socket is shut down, not when it is closed.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        os.unlink(self.path)

    def _serve(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            with stream:
                try:
                    self._answer(stream)
                except OSError:
                    continue  # the client gave up

    def _answer(self, stream: socket.socket) -> None:
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        stream.sendall(connection.data_to_send())
        headers: dict[str, str] = {}
        while received := stream.recv(65536):
            for event in connection.receive_data(received):
                if isinstance(event, RequestReceived):
                    headers = {str(key): str(value) for key, value in event.headers or ()}
                elif isinstance(event, StreamEnded):
                    self.calls += 1
                    self._reply(connection, stream, headers)
                    stream.sendall(connection.data_to_send())
                    return
            stream.sendall(connection.data_to_send())

    def _reply(self, connection: H2Connection, stream: socket.socket, headers: Any) -> None:
        if self._fault == "reset":
            connection.reset_stream(1)
            return
        if self._fault == "slow":
            self._ended.wait(600)
        known = headers[":path"] == self.method and self._fault != "status"
        connection.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
        if not known:
            trailers = [("grpc-status", "12"), ("grpc-message", "unknown service")]
            connection.send_headers(1, trailers, end_stream=True)
            return
        body = b"\xff" * 20 if self._fault == "garbage" else self._body
        message = b"\0" + len(body).to_bytes(4, "big") + body
        for start in range(0, len(message), 16000):
            if connection.local_flow_control_window(1) < 16000:
                self._wait_for_window(connection, stream)
            connection.send_data(1, message[start : start + 16000])
            stream.sendall(connection.data_to_send())
        if self._fault == "cut":
            return
        connection.send_headers(1, [("grpc-status", "0")], end_stream=True)

    def _wait_for_window(self, connection: H2Connection, stream: socket.socket) -> None:
        while connection.local_flow_control_window(1) < 16000:
            connection.receive_data(stream.recv(65536))


class Sandboxes(Kubelet):
    """Serves ``ListPodSandbox`` (k8s.io/cri-api runtime v1) with sandboxes of these IDs."""

    method = "/runtime.v1.RuntimeService/ListPodSandbox"

    def __init__(self, folder: str, ids: Collection[str], fault: str = "") -> None:
        super().__init__(folder, {}, fault)
        metadata = _field(2, _field(1, b"web") + _field(3, b"default"))
        # State (field 3) and the time of creation (field 4) are numbers.
        numbers = bytes([3 << 3, 1, 4 << 3]) + _varint(1_700_000_000_000_000_000)
        self._body = b"".join(_field(1, _field(1, i.encode()) + metadata + numbers) for i in ids)
