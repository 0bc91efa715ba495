"""What a worker tells of a job that it finished, read with suspicion.

A plugin runs in the worker's process and can write to its channel: what has another form than a
report is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

_TIMES = tuple[tuple[str, str, float], ...]


@frozen
class Replayed:
    """How a spooled DEL ended that was carried out: see ``multus.daemon.spooled``."""

    path: str
    outcome: str
    reason: str


@frozen
class Report:
    """The answer's ``code`` and whether the client took it; what was done, and how long it took.

    ``stages`` and ``delegates`` are verb, name and seconds.  ``failure`` is why a recovery failed,
    ``replayed`` what was carried out from the spool, ``cni_dir`` a folder other than the daemon's.
    """

    code: str = "0"
    taken: bool = True
    failure: str = ""
    stages: _TIMES = ()
    delegates: _TIMES = ()
    journal_errors: int = 0
    cni_dir: str = ""
    replayed: tuple[Replayed, ...] = ()

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Report:
        """Read a worker's packet; raises ``ValueError`` for what no worker sends."""
        try:
            return cls(
                code=_text(wire.get("code", "0"), 8),
                taken=bool(wire.get("taken", True)),
                failure=_text(wire.get("answer", "")),
                stages=_times(wire.get("stages", ())),
                delegates=_times(wire.get("delegates", ())),
                journal_errors=min(1, int(wire.get("journal_errors", 0))),
                cni_dir=_text(wire.get("cni_dir", "")),
                replayed=tuple(map(_replayed, wire.get("replayed", ()))),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"malformed report: {error!r}") from error


def _replayed(wire: Mapping[str, Any]) -> Replayed:
    return Replayed(_text(wire["path"]), _text(wire["outcome"], 16), _text(wire["reason"]))


def _times(wire: Any) -> _TIMES:
    return tuple((_text(verb, 16), _text(name), float(seconds)) for verb, name, seconds in wire)


def _text(value: Any, longest: int = 4096) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is not a string")
    return value[:longest]
