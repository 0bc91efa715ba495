"""Requests over HTTP, as the Go Multus' shim and the dynamic networks controller send them.

    POST /cni       {"env": {…}, "config": "<base64>"}
    POST /delegate  the same, and "interfaceAttributes": {"ips": […], "mac": "…", "cni-args": {…}}
    GET /healthz, GET /readyz

``env`` is the CNI environment of the call, ``config`` what a runtime would write to stdin.  200
answers with ``{"Result": …}``, the result of an ADD in CNI 1.0.0 or 1.1.0, or with nothing; 400
answers with CNI's error object.

``multus.daemon.httpconnection`` reads requests.  Workers import this module, and no HTTP parser.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from multus.api.errors import InvalidConfig
from multus.api.frozen import EMPTY
from multus.api.jsontext import decode_object, encode
from multus.api.reader import describe
from multus.api.result import Result
from multus.api.versions import at_least
from multus.cni import shim
from multus.cni.shim import Answer
from multus.daemon import wire
from multus.daemon.channel import encoded as encoded_head
from multus.daemon.connection import Connection, Counted

CNI, DELEGATE, HEALTH, READY = "/cni", "/delegate", "/healthz", "/readyz"

#: Largest body: a configuration of ``wire.LARGEST`` bytes as base64, and an environment.
LARGEST = wire.LARGEST * 4 // 3 + 2 * wire.LARGEST_ENVIRONMENT
#: The most JSON values in a body.  What decoding costs depends on their number.
_MOST_VALUES = 20_000
#: Largest ``interfaceAttributes``, in bytes as the worker is sent them.
_LARGEST_ATTRIBUTES = 64 << 10
#: What the Go Multus takes for a variable that is missing.
_ABSENT = {"CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin"}
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


class Refused(Exception):
    """The body is not a request; the text says why."""


@frozen
class Asked:
    """A decoded body; ``attributes`` is its ``interfaceAttributes``."""

    message: wire.Message
    attributes: Mapping[str, Any] = field(default=EMPTY, repr=False)


def decode(body: bytes) -> Asked:
    """Decode the body of ``/cni`` or ``/delegate``; raises ``Refused``."""
    if body.count(b",") + body.count(b"{") + body.count(b"[") > _MOST_VALUES:
        raise Refused(f"it has more than {_MOST_VALUES} values")
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(f"it is not JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise Refused(f"it is {describe(decoded)}, not an object")
    found = {key.lower(): value for key, value in decoded.items()}  # as Go reads names of keys
    return Asked(
        message=wire.Message(wire.CNI, _config(found.get("config")), _environ(found.get("env"))),
        attributes=_attributes(found.get("interfaceattributes")),
    )


def _config(value: object) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, str):
        raise Refused(f"config is {describe(value)}, not base64")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"config is not base64: {error}") from error


def _environ(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise Refused(f"env is {describe(value)}, not an object")
    for name, text in value.items():
        if not isinstance(text, str) or "\0" in text + name or "=" in name:
            raise Refused(f"env, {name[:100]!r}: it is not a variable")
        if not _is_encodable(f"{name}={text}"):
            raise Refused(
                f"env, {name[:100]!r}: it has half of a surrogate pair, which no variable can have:"
                " remove it"
            )
    return {**value, **{name: text for name, text in _ABSENT.items() if not value.get(name)}}


def _is_encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _attributes(value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused(f"interfaceAttributes is {describe(value)}, not an object")
    found = {key: each for key, each in value.items() if each is not None}
    try:
        size = len(encoded_head(found))
    except RecursionError as error:
        raise Refused(f"interfaceAttributes cannot be encoded: {error}") from error
    if size > _LARGEST_ATTRIBUTES:
        raise Refused(
            f"interfaceAttributes has {size} bytes as JSON in ASCII, at most"
            f" {_LARGEST_ATTRIBUTES} are read: shorten 'cni-args'"
        )
    return found


def as_ours(environ: Mapping[str, str], stdin: bytes, kubeconfig: str) -> bytes:
    """The configuration on *stdin*, with the daemon's *kubeconfig* where it names none.

    The Go Multus' daemon has its own access to the cluster, and its shim's configuration names
    none; a pod must not come up without its networks for that reason.  Raises ``DecodingFailure``,
    and ``InvalidConfig`` for an ADD of a pod when the daemon has no kubeconfig either.
    """
    command = environ.get("CNI_COMMAND")
    if command == "VERSION":
        return stdin
    conf = decode_object(stdin, "the network configuration")
    if any(key.lower() == "kubeconfig" and value for key, value in conf.items()):
        return stdin
    if not kubeconfig:
        if command == "ADD" and "K8S_POD_NAME=" in environ.get("CNI_ARGS", ""):
            raise InvalidConfig(
                "neither the configuration from the shim nor the daemon's has a 'kubeconfig', so"
                " the pod's networks are unknown",
                fix="give the daemon 'kubeconfig'",
            )
        return stdin
    return encode({**conf, "kubeconfig": kubeconfig})


def response(status: int, body: bytes = b"", kind: str = "application/json") -> bytes:
    """A whole HTTP response; the connection is closed after it."""
    reason = _REASONS.get(status, "Internal Server Error")
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def encoded(answer: Answer) -> bytes:
    """The response to ``/cni`` and ``/delegate``."""
    status, stdout = answer
    if status:
        return response(400, stdout)
    return response(200, _with_result(stdout) if stdout.strip() else b"")


def _with_result(stdout: bytes) -> bytes:
    wire_result = json.loads(stdout)
    # A shim of Multus 4.0 knows no version above 1.0.0; it converts to what its runtime asked for.
    version = "1.1.0" if at_least(str(wire_result.get("cniVersion")), "1.1.0") else "1.0.0"
    return json.dumps({"Result": Result.from_wire(wire_result).to_wire(version)}).encode()


class Answering(Connection):
    """A client that speaks HTTP and whose request is read: a worker's end of its connection."""

    path = CNI
    waits = False

    def keep(self, command: str, message: wire.Message) -> bool:
        """The Go Multus' shim says that a DEL succeeded whatever it is answered: keep it."""
        if command != "DEL" or self.path != CNI:
            return False
        environ = {os.fsencode(name): os.fsencode(text) for name, text in message.environ.items()}
        return shim.spool(environ, message.payload)[0] == 0

    def encoded(self, answer: Answer) -> bytes:
        return encoded(answer)

    def counted(self, command: str, code: str) -> Counted:
        """By HTTP's method and status, as the Go Multus counts."""
        return Counted(self.path, "post", "200" if code == "0" else "400")
