"""What the trace says of the last minutes: how many calls, how long they and their plugins took."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from multus.cli.findings import AS_ROOT, UNCHECKED, WARNING, Finding
from multus.log.trace import read

#: Failures are counted over this time, in seconds.
_HOUR = 3600.0


@frozen
class Times:
    """The durations of one kind of call or plugin, in seconds, and how many of them failed."""

    name: str
    seconds: tuple[float, ...]
    failed: int = 0

    def quantile(self, share: float) -> float:
        """The duration that *share* of all do not exceed; 0.0 without any."""
        ordered = sorted(self.seconds)
        if not ordered:
            return 0.0
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@frozen
class Recent:
    """The requests of the last *span* seconds: by command, by plugin; and the last failures."""

    span: float
    commands: tuple[Times, ...] = ()
    plugins: tuple[Times, ...] = ()
    failures: tuple[Mapping[str, Any], ...] = field(default=())


def recent(entries: Iterable[Mapping[str, Any]], span: float, now: float | None = None) -> Recent:
    """Count the entries of a trace that are at most *span* seconds old.

    Failures are the last ones of the whole trace.  Values of a wrong type are left out.
    """
    since = (time.time() if now is None else now) - span
    commands: dict[str, list[float]] = {}
    failed: dict[str, int] = {}
    plugins: dict[str, list[float]] = {}
    failures = []
    for entry in entries:
        if isinstance(entry.get("error"), Mapping):
            failures.append(entry)
        if "stages" not in entry or number(entry.get("time")) < since:
            continue
        name = str(entry.get("command"))
        commands.setdefault(name, []).append(took(entry))
        failed[name] = failed.get(name, 0) + ("error" in entry)
        for each in _mappings(entry.get("delegates")):
            types = f"{name} {each.get('types')}"
            plugins.setdefault(types, []).append(number(each.get("seconds")))
    return Recent(
        span,
        tuple(Times(name, tuple(commands[name]), failed[name]) for name in sorted(commands)),
        tuple(Times(name, tuple(plugins[name])) for name in sorted(plugins)),
        tuple(failures[-5:]),
    )


def failed_requests(cni_dir: str) -> Iterator[Finding]:
    """A finding when requests of the last hour failed; *cni_dir* is the folder of records."""
    since = time.time() - _HOUR
    try:
        entries = [each for each in read(cni_dir) if number(each.get("time")) >= since]
    except FileNotFoundError:
        return  # the plugin that writes it is not installed
    except OSError as error:
        yield Finding(UNCHECKED, "requests", f"{error.filename}: {error.strerror}", AS_ROOT)
        return
    requests = [each for each in entries if "delegate" not in each]
    failed = [each for each in requests if isinstance(each.get("error"), dict)]
    if failed:
        last = failed[-1]
        who = last.get("pod") or last.get("container") or "-"
        reason = f"{len(failed)} of {len(requests)} in the last hour failed; the last: "
        reason += f"{last.get('command')} of {who}: {last['error'].get('msg')}"
        yield Finding(WARNING, "requests", reason, "'multus trace --failed --last 5' shows them")


def number(value: object) -> float:
    """*value* when it is a number of a sensible size, else 0.0."""
    return float(value) if isinstance(value, int | float) and abs(value) < 1e12 else 0.0


def took(entry: Mapping[str, Any]) -> float:
    """How long the request of an entry took, in seconds; 0.0 for a step of one."""
    if "seconds" in entry:
        return number(entry["seconds"])
    stages = entry.get("stages")
    return sum(map(number, stages.values())) if isinstance(stages, Mapping) else 0.0


def _mappings(value: object) -> Sequence[Mapping[str, Any]]:
    listed = value if isinstance(value, list) else ()
    return [each for each in listed if isinstance(each, Mapping)]
