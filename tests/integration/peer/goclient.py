"""The clients of the Go Multus' daemon: its shim, and the controller of dynamic networks.

What they send is what Go's ``net/http`` puts on a Unix socket.
"""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h11
from attrs import frozen

from multus.testing.runtime import Container


class Response(NamedTuple):
    """A response; ``headers`` by name in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def result(self) -> dict[str, Any]:
        """The result that the shim takes from the answer to an ADD."""
        assert self.status == 200, self.body
        return dict(self.json["Result"])


@frozen
class GoClient:
    """A client at the socket of a daemon."""

    path: Path

    def connect(self) -> socket.socket:
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(60)
        peer.connect(str(self.path))
        return peer

    def post(self, path: str, body: bytes) -> Response:
        """As ``http.Client.Post`` with the JSON of a request."""
        return self.send(head("POST", path, len(body)) + body)

    def get(self, path: str) -> Response:
        return self.send(head("GET", path))

    def send(self, *parts: bytes) -> Response:
        with self.connect() as peer:
            for part in parts:
                peer.sendall(part)
            return response_of(peer)

    def state(self, path: str) -> int:
        """The shim's look at the daemon before a call: it posts what is nil in Go."""
        return self.post(path, b"null").status

    def cni(self, command: str, conf: Any, container: Container | None, path: str = "") -> Response:
        """A call of the shim: it sends its whole environment."""
        named = container.environ() if container is not None else {}
        environ = {"PATH": "/usr/bin:/sbin", "CNI_COMMAND": command, "CNI_PATH": path, **named}
        return self.post("/cni", body(environ, conf))

    def delegate(
        self,
        command: str,
        conf: Any,
        container: Container,
        ifname: str,
        *,
        path: str = "",
        **attributes: Any,
    ) -> Response:
        """A request of the controller of dynamic networks for one *ifname* of a pod.

        It sends no *path*.
        """
        words = dict(each.split("=", 1) for each in container.args.split(";"))
        names = ("K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID")
        environ = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container.id,
            "CNI_NETNS": container.netns,
            "CNI_IFNAME": ifname,
            **({"CNI_PATH": path} if path else {}),
            "CNI_ARGS": ";".join(f"{name}={words[name]}" for name in names),
        }
        named = {name.replace("_", "-"): value for name, value in attributes.items()}
        asked = {"cni-args": None, **named} if attributes else None
        return self.post("/delegate", body(environ, conf, asked))


def head(method: str, path: str, length: int | None = None, **more: str) -> bytes:
    """The head of a request, as ``net/http`` writes it."""
    lines = [f"{method} {path} HTTP/1.1", "Host: dummy", "User-Agent: Go-http-client/1.1"]
    if length is not None:
        lines += [f"Content-Length: {length}", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return "\r\n".join([*lines, "Accept-Encoding: gzip", "", ""]).encode()


def body(
    environ: Mapping[str, str], conf: Any, attributes: Mapping[str, Any] | None = None
) -> bytes:
    """The JSON of a request, as ``encoding/json`` writes it: the configuration is base64."""
    stdin = conf if isinstance(conf, bytes) else json.dumps(conf).encode()
    asked: dict[str, Any] = {"env": environ, "config": base64.b64encode(stdin).decode()}
    if attributes is not None:
        asked["interfaceAttributes"] = attributes
    return json.dumps(asked, separators=(",", ":")).encode()


def response_of(peer: socket.socket) -> Response:
    """The response of a server that closes the connection after it, read by a real parser."""
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method="GET", target="/", headers=[("Host", "dummy")]))
    http.send(h11.EndOfMessage())
    status, headers, found = 0, {}, b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(peer.recv(65536))
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {name.decode().lower(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            found += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return Response(status, headers, found)
