"""Packets from a worker to the supervisor: decoding and checks.

A plugin can write to any descriptor of its worker, so a packet may hold anything.  A malformed one
costs its worker, and nothing else.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from multus.daemon import wire
from multus.daemon.channel import Packet
from multus.daemon.connection import Connection
from multus.daemon.looked import LOOKED, MOST_TOLD, Looked
from multus.healing.facts import KINDS

#: Most times of one report; an ADD of 32 networks has about forty.
_MOST = 1024
#: Longest text, in characters; the rest is cut off.
_LONGEST = 4096
_OUTCOMES = ("done", "gone", "failed", "malformed")


class Malformed(Exception):
    """The packet is malformed; the text says why."""


@frozen
class Ready:
    """The worker can get a job: it has started, or it has stopped accepting clients."""


@frozen
class Taken:
    """The front worker accepted a client, and started its call unless ``message`` is None.

    ``connection`` is None when this process had no free descriptor to receive it.
    """

    connection: Connection | None
    message: wire.Received | None


@frozen
class Replayed:
    """The outcome of a spooled DEL."""

    path: str
    outcome: str
    reason: str


@frozen
class Healed:
    """What one part of healing came to: numbers by kind, and what is not tried again so soon."""

    found: Mapping[str, int]
    removed: Mapping[str, int]
    failed: Mapping[str, int]
    skipped: tuple[str, ...]
    more: bool


@frozen
class Report:
    """The report on a finished job; the kind of job decides which fields are used."""

    code: str
    taken: bool
    outdated: bool
    answer: str
    retire: str
    cni_dir: str
    journal_errors: int
    stages: tuple[tuple[str, str, float], ...]
    delegates: tuple[tuple[str, str, float], ...]
    plugins: tuple[tuple[str, str, float], ...]
    replayed: tuple[Replayed, ...]
    looked: Looked | None = None
    healed: Healed | None = None


def read(packet: Packet) -> Ready | Taken | Report:
    """Decode a worker's *packet*; raises ``Malformed``.

    Closes descriptors that do not belong to it.
    """
    head, kept = packet.head, 0
    try:
        if "ready" in head or "back" in head:
            return Ready()
        if "begin" in head or "handOff" in head:
            taken = _taken(packet)
            kept = 1
            return taken
        return _report(head)
    except (TypeError, ValueError, KeyError, OverflowError, OSError, wire.Malformed) as error:
        raise Malformed(f"{type(error).__name__}: {error}") from error
    finally:
        for descriptor in packet.fds[kept:]:
            os.close(descriptor)


def _taken(packet: Packet) -> Taken:
    now = time.monotonic()
    began = min(_number(packet.head["began"]), now)
    message = wire.Received(packet.body) if "begin" in packet.head else None
    if not packet.fds:
        return Taken(None, message)
    # The descriptor may be anything; Python reads the socket's family and type from the kernel.
    peer = socket.socket(fileno=packet.fds[0])
    if (peer.family, peer.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
        peer.detach()
        raise ValueError("the descriptor is not a client's socket")
    peer.setblocking(False)
    return Taken(Connection(peer, began, b"" if message else packet.body), message)


def _report(head: Mapping[str, Any]) -> Report:
    if not {"code", "answer", "replayed", "healed", "looked"} & head.keys():
        raise ValueError("not a report")
    return Report(
        code=_text(head.get("code", "")),
        taken=bool(head.get("taken", True)),
        outdated=bool(head.get("outdated", False)),
        answer=_text(head.get("answer", "")),
        retire=_text(head.get("retire", "")),
        cni_dir=_text(head.get("cni_dir", "")),
        journal_errors=min(int(_number(head.get("journal_errors", 0))), _MOST),
        stages=_times(head.get("stages", ())),
        delegates=_times(head.get("delegates", ())),
        plugins=_times(head.get("plugins", ())),
        replayed=tuple(_replayed(each) for each in head.get("replayed", ())[:_MOST]),
        looked=_looked(head["looked"]) if "looked" in head else None,
        healed=_healed(head["healed"]) if "healed" in head else None,
    )


def _looked(found: Mapping[str, Any]) -> Looked:
    outcome = found["outcome"]
    if outcome not in LOOKED:
        raise ValueError(f"{outcome!r} is not an outcome")
    told = tuple(_text(each) for each in found["told"][:MOST_TOLD])
    return Looked(outcome, told, bool(found.get("wrote", False)))


def _replayed(found: Mapping[str, Any]) -> Replayed:
    outcome = found["outcome"]
    if outcome not in _OUTCOMES:
        raise ValueError(f"{outcome!r} is not an outcome")
    path = _text(found["path"])
    if "\0" in path:
        raise ValueError("the path contains a NUL")
    return Replayed(path, outcome, _text(found["reason"]))


def _healed(found: Mapping[str, Any]) -> Healed:
    return Healed(
        found=_counts(found["found"]),
        removed=_counts(found["removed"]),
        failed=_counts(found["failed"]),
        skipped=tuple(_text(each) for each in found["skipped"][:_MOST]),
        more=bool(found["more"]),
    )


def _counts(found: Mapping[str, Any]) -> dict[str, int]:
    if not isinstance(found, dict) or not found.keys() <= set(KINDS):
        raise ValueError("a kind is not known")
    return {kind: int(_number(count)) for kind, count in found.items()}


def _times(found: Any) -> tuple[tuple[str, str, float], ...]:
    return tuple((_text(verb), _text(what), _number(s)) for verb, what, s in found[:_MOST])


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {type(value).__name__}")
    # A configuration may contain a lone surrogate, which cannot be encoded.
    return value[:_LONGEST].encode(errors="replace").decode()


def _number(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError("expected a number that is finite and not negative")
    return value
