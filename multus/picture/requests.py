"""The last requests, with the time of each part, from the trace (``multus.log.trace``)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from multus.log import redacted
from multus.log.trace import read
from multus.picture.filtering import Wanted

#: So many requests are shown.
MOST = 30
#: So many parts of one request.
_MOST_PARTS = 64
#: Seconds: the year 5138.
_LARGEST = 1e11


@frozen
class Part:
    """A part of a request: a stage, a network, or a plugin's hook or verb.

    ``begin`` and ``seconds`` are in seconds; ``begin`` counts from the request's begin, as stages
    and networks follow one another.  ``depth`` is 0 for stages, 1 for networks within one.
    """

    name: str
    begin: float
    seconds: float
    depth: int = 0
    told: str = ""
    error: str = ""


@frozen
class Request:
    """One request: ``time`` is its end, in seconds since 1970, ``seconds`` how long it took."""

    time: float
    command: str
    container: str
    pod: str
    ifname: str
    seconds: float
    parts: tuple[Part, ...] = ()
    plugins: tuple[Part, ...] = ()
    networks: tuple[str, ...] = ()
    error: str = ""

    @property
    def key(self) -> str:
        """What tells it from the others."""
        return f"{self.time}-{self.container}"

    @property
    def who(self) -> str:
        """The pod, or the container."""
        return self.pod or self.container[:13] or "-"


def last(cni_dir: str, notes: list[str]) -> tuple[Request, ...]:
    """The last requests of the trace beside *cni_dir*, the newest first.

    Without a trace, or when it cannot be read, there are none, and *notes* says why.
    """
    try:
        entries = deque((each for each in read(cni_dir) if "stages" in each), MOST)
    except FileNotFoundError:
        notes.append("there is no trace: multus-observer-trace writes it")
        return ()
    except OSError as error:
        notes.append(f"the trace cannot be read: {error.strerror}")
        return ()
    return tuple(request_of(each) for each in reversed(entries))


def matching(requests: Sequence[Request], wanted: Wanted) -> tuple[Request, ...]:
    """The requests of the pods and networks that are asked for."""
    return tuple(
        each
        for each in requests
        if wanted.pod.lower() in f"{each.pod} {each.container}".lower()
        and (not wanted.namespace or each.pod.startswith(f"{wanted.namespace}/"))
        and (not wanted.network or wanted.network in each.networks)
    )


def request_of(entry: Mapping[str, Any]) -> Request:
    """An entry of the trace; values of a wrong type are left out."""
    delegates = _dicts(entry.get("delegates"))
    stages = entry.get("stages")
    timed = {str(k): _number(v) for k, v in stages.items()} if isinstance(stages, dict) else {}
    return Request(
        time=_number(entry.get("time")),
        command=_text(entry.get("command")),
        container=_text(entry.get("container")),
        pod=_text(entry.get("pod")),
        ifname=_text(entry.get("ifname")),
        seconds=max(_number(entry.get("seconds")), sum(timed.values())),
        parts=tuple(_parts(timed, delegates))[:_MOST_PARTS],
        plugins=tuple(_plugins(entry))[:_MOST_PARTS],
        networks=tuple(_text(each.get("network")) for each in delegates),
        error=_error(entry),
    )


def _parts(stages: Mapping[str, float], delegates: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    at = 0.0
    for name, seconds in stages.items():
        yield Part(name, at, seconds)
        if name == "invoke":
            begin = at
            for each in delegates:
                took = _number(each.get("seconds"))
                yield Part(
                    f"{_text(each.get('ifname'))} {_text(each.get('network'))}",
                    begin,
                    took,
                    1,
                    _text(each.get("types")),
                    _error(each),
                )
                begin += took
        at += seconds


def _plugins(entry: Mapping[str, Any]) -> Iterator[Part]:
    found = _dicts(entry.get("plugins"))
    for each in sorted(found, key=lambda each: -_number(each.get("seconds"))):
        waited = _number(each.get("waited"))
        told = f"{waited * 1000:.1f} ms of them waiting" if waited >= 0.001 else ""
        name = f"{_text(each.get('plugin'))} {_text(each.get('task'))}"
        yield Part(name, 0.0, _number(each.get("seconds")), told=told)


def _error(entry: Mapping[str, Any]) -> str:
    error = entry.get("error")
    if not isinstance(error, dict):
        return ""
    return f"{_text(error.get('msg'))} [code {int(_number(error.get('code')))}]"


def _number(value: object) -> float:
    """A number from 0 on; 0.0 for anything else, and for what no clock says."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < _LARGEST else 0.0  # type: ignore[arg-type,operator]


def _text(value: object) -> str:
    return str(redacted(value)) if isinstance(value, str) else ""


def _dicts(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
