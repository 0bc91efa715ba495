"""Show past requests, with the time of each stage.

The plugin multus-observer-trace writes the trace, which keeps the last few
thousand requests.

Examples:
  multus trace 0123456789ab           a container, by a prefix of its ID
  multus trace default/web            a pod
  multus trace web                    the same, if no other namespace has a web
  multus trace --failed --since 1h    every request that failed in the last hour
  multus trace -f                     the last ones, and new ones as they end
  multus trace --last 3 --json
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from multus.cli import screen, statuses, telling, tracing
from multus.cli.findings import ERROR, Finding
from multus.cli.recent import number, took
from multus.cli.screen import Screen

#: Waiting time is shown separately from this many seconds on.
_NOTED = 0.001


STATUSES = {0: "there are such requests", 1: "there is none, or no trace", **statuses.INTERRUPTED}


def configure(parser: argparse.ArgumentParser) -> None:
    tracing.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the entries; status 1 when there are none."""
    shown = None if arguments.json else Screen.open()
    found = False
    telling.doing("reading the trace")
    if arguments.follow:
        telling.end()
    for each in tracing.chosen(arguments):
        found = True
        if shown is None:
            screen.as_json(each, indent=None)
        else:
            _show_one(shown, each)
        if arguments.follow:
            screen.flush()
    if not found and shown is not None:
        shown.line(tracing.nothing(arguments))
    return 0 if found else 1


def _show_one(shown: Screen, entry: Mapping[str, Any]) -> None:
    who = entry.get("pod") or str(entry.get("container", ""))[:13] or "-"
    delegate = entry.get("delegate")
    if isinstance(delegate, dict):
        verb = "undone" if entry.get("undone") else "removed"
        what = f": {verb} {delegate.get('ifname')} ({delegate.get('types')},"
        what += f" {delegate.get('network')})"
    else:
        total = took(entry)
        what = f": {_milliseconds(total).strip()}" if total else ""
    command = f"{entry.get('command', '?')!s:6}"
    stamp = _stamp(number(entry.get("time")))
    who = f"{who}, {entry.get('ifname') or '-'}{what}"
    shown.line(f"{stamp}  ", (command, "bold"), who, hang=4)
    for name, seconds in _stages(entry):
        shown.line(f"    {name:10} {_milliseconds(seconds)}")
        if name == "invoke":
            for each in _dicts(entry.get("delegates")):
                shown.line(f"        {_delegate(each)}", hang=4)
    for each in sorted(_dicts(entry.get("plugins")), key=lambda each: -_seconds(each)):
        shown.line(f"    {_milliseconds(_seconds(each))}  {_plugin(each)}")
    error = entry.get("error")
    if isinstance(error, dict):
        code = int(number(error.get("code")))
        shown.finding(Finding(ERROR, "failed", str(error.get("msg")), code=code))


def _stages(entry: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    stages = entry.get("stages")
    for name, seconds in (stages if isinstance(stages, dict) else {}).items():
        yield str(name), number(seconds)


def _plugin(each: Mapping[str, Any]) -> str:
    waited = number(each.get("waited"))
    only = f", {_milliseconds(waited).strip()} of them waiting" if waited >= _NOTED else ""
    return f"{each.get('task')} of {each.get('plugin')}{only}"


def _delegate(each: Mapping[str, Any]) -> str:
    by = ", ".join(map(str, _list(each.get("invokers"))))
    took = _milliseconds(_seconds(each))
    how = " failed" if "error" in each else f" by {by}"
    return f"{each.get('ifname')!s:15} {took}  {each.get('types')}{how}, {each.get('network')}"


# The file may be damaged or of another version: values of a wrong type are shown as empty.


def _seconds(each: Mapping[str, Any]) -> float:
    return number(each.get("seconds"))


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _dicts(value: object) -> list[Mapping[str, Any]]:
    return [each for each in _list(value) if isinstance(each, dict)]


def _stamp(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:8.1f} ms"
