"""Leases in protobuf: clients in Go send them so, whatever the server prefers.

Source: ``k8s.io/api/coordination/v1`` and ``k8s.io/apimachinery``, ``generated.proto``.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

#: What begins every body in protobuf.
MAGIC = b"k8s\x00"


def lease_of(body: bytes) -> dict[str, Any]:
    """The lease of a body in protobuf, as JSON has it."""
    (raw,) = _fields(body[len(MAGIC) :])[2]
    lease = _fields(raw)
    metadata, spec = _fields(lease[1][0]), _fields(lease.get(2, [b""])[0])
    names = {1: "name", 3: "namespace", 5: "uid", 6: "resourceVersion"}
    found = {name: metadata[each][0].decode() for each, name in names.items() if each in metadata}
    inner: dict[str, Any] = {}
    if 1 in spec:
        inner["holderIdentity"] = spec[1][0].decode()
    inner |= {
        name: spec[number][0]
        for number, name in ((2, "leaseDurationSeconds"), (5, "leaseTransitions"))
        if number in spec
    }
    inner |= {
        name: _time(spec[number][0])
        for number, name in ((3, "acquireTime"), (4, "renewTime"))
        if number in spec
    }
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {key: value for key, value in found.items() if value},
        "spec": inner,
    }


def _time(message: bytes) -> str:
    fields = _fields(message)
    seconds, nanos = (fields.get(number, [0])[0] for number in (1, 2))
    at = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{nanos // 1000:06}Z"


def _fields(message: bytes) -> dict[int, list[Any]]:
    """Each field's values: numbers, and bytes for what has a length."""
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        value, at = _number(message, at)
        found.setdefault(key >> 3, []).append(message[at : at + value] if key & 7 == 2 else value)
        at += value if key & 7 == 2 else 0
    return found


def _number(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
