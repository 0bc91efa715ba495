"""What a worker says to the supervisor, and whether it may be believed.

A plugin can write to any descriptor of its worker, so a packet may hold anything.  One that is
malformed costs the worker that sent it, and nothing else.
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

#: Times that are taken from one report; an ADD of 32 networks has some forty.
_MOST = 1024
#: Characters of a text that are taken.
_LONGEST = 4096
_OUTCOMES = ("done", "gone", "failed", "malformed")


class Malformed(Exception):
    """No worker that is as it should be says this; the text says why."""


@frozen
class Ready:
    """The worker can be given work: it has begun, or it leaves clients to the supervisor."""


@frozen
class Taken:
    """The front worker took a client, and has begun its call unless ``message`` is None.

    ``connection`` is None when this process had no descriptor left to receive it with.
    """

    connection: Connection | None
    message: wire.Received | None


@frozen
class Replayed:
    """What became of a spooled DEL."""

    path: str
    outcome: str
    reason: str


@frozen
class Report:
    """A job is done; which fields count depends on its kind."""

    code: str
    taken: bool
    answer: str
    retire: str
    cni_dir: str
    journal_errors: int
    stages: tuple[tuple[str, str, float], ...]
    delegates: tuple[tuple[str, str, float], ...]
    plugins: tuple[tuple[str, str, float], ...]
    replayed: tuple[Replayed, ...]


def read(packet: Packet) -> Ready | Taken | Report:
    """What a worker says with *packet*; raises ``Malformed``.

    Descriptors that are not part of it are closed.
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
    # A socket's family and type are asked from the kernel: it may be anything.
    peer = socket.socket(fileno=packet.fds[0])
    if (peer.family, peer.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
        peer.detach()
        raise ValueError("its descriptor is not a client's")
    peer.setblocking(False)
    return Taken(Connection(peer, began, b"" if message else packet.body), message)


def _report(head: Mapping[str, Any]) -> Report:
    if not {"code", "answer", "replayed"} & head.keys():
        raise ValueError("it is not a report")
    return Report(
        code=_text(head.get("code", "")),
        taken=bool(head.get("taken", True)),
        answer=_text(head.get("answer", "")),
        retire=_text(head.get("retire", "")),
        cni_dir=_text(head.get("cni_dir", "")),
        journal_errors=min(int(_number(head.get("journal_errors", 0))), _MOST),
        stages=_times(head.get("stages", ())),
        delegates=_times(head.get("delegates", ())),
        plugins=_times(head.get("plugins", ())),
        replayed=tuple(_replayed(each) for each in head.get("replayed", ())[:_MOST]),
    )


def _replayed(found: Mapping[str, Any]) -> Replayed:
    outcome = found["outcome"]
    if outcome not in _OUTCOMES:
        raise ValueError(f"{outcome!r} is not an outcome")
    path = _text(found["path"])
    if "\0" in path:
        raise ValueError("a path with a NUL")
    return Replayed(path, outcome, _text(found["reason"]))


def _times(found: Any) -> tuple[tuple[str, str, float], ...]:
    return tuple((_text(verb), _text(what), _number(s)) for verb, what, s in found[:_MOST])


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} in the place of a text")
    # Whoever writes a configuration may put half a surrogate pair into it: it cannot be encoded.
    return value[:_LONGEST].encode(errors="replace").decode()


def _number(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError("no number where one has to be")
    return value
