"""Show past requests, with the time of each stage.

The plugin multus-observer-trace writes the trace, which keeps the last few
thousand requests.

Examples:
  multus trace 0123456789ab           a container, by a prefix of its ID
  multus trace default/web            a pod
  multus trace --failed               every request that failed
  multus trace --last 3 --json
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from multus.api.errors import MissingPlugin
from multus.cli import screen
from multus.cli.attachments import CNI_DIR
from multus.cli.findings import ERROR, Finding
from multus.cli.screen import Screen
from multus.log.trace import read

#: Waiting time is shown separately from this many seconds on.
_NOTED = 0.001


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "container",
        nargs="?",
        default="",
        metavar="CONTAINER",
        help="a prefix of a container ID, or NAMESPACE/NAME of a pod; default: all",
    )
    parser.add_argument("--failed", action="store_true", help="only failed requests")
    parser.add_argument("--last", type=int, default=0, metavar="N", help="only the last N entries")
    parser.add_argument("--cni-dir", default=CNI_DIR, metavar="FOLDER", help="(%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON, one entry per line")


def run(arguments: argparse.Namespace) -> int:
    """Print the entries; status 1 when there are none."""
    try:
        found = [each for each in read(arguments.cni_dir) if _is_wanted(each, arguments)]
    except FileNotFoundError as error:
        raise MissingPlugin(
            f"there is no trace ({error.args[0]})",
            fix="install multus-observer-trace; it records requests from then on",
        ) from error
    found = found[-arguments.last :] if arguments.last else found
    if arguments.json:
        for each in found:
            screen.as_json(each, indent=None)
    else:
        _show(found, arguments.container)
    return 0 if found else 1


def _is_wanted(entry: Mapping[str, Any], arguments: argparse.Namespace) -> bool:
    if arguments.failed and "error" not in entry:
        return False
    who = arguments.container
    if "/" in who:
        return bool(entry.get("pod") == who)
    return str(entry.get("container", "")).startswith(who)


def _show(entries: list[dict[str, Any]], wanted: str) -> None:
    shown = Screen.open()
    if not entries:
        of = f" of {wanted}" if wanted else ""
        shown.line(f"the trace has no entry{of}: there was no request, or it was too long ago")
    for each in entries:
        _show_one(shown, each)


def _show_one(shown: Screen, entry: Mapping[str, Any]) -> None:
    who = entry.get("pod") or str(entry.get("container", ""))[:13] or "-"
    delegate = entry.get("delegate")
    if isinstance(delegate, dict):
        verb = "undone" if entry.get("undone") else "removed"
        what = f": {verb} {delegate.get('ifname')} ({delegate.get('types')},"
        what += f" {delegate.get('network')})"
    else:
        total = sum(seconds for _, seconds in _stages(entry))
        what = f": {_milliseconds(total)}" if total else ""
    command = f"{entry.get('command', '?')!s:6}"
    stamp = _stamp(_number(entry.get("time")))
    shown.line(f"{stamp}  ", (command, "bold"), f"{who}, {entry.get('ifname') or '-'}{what}")
    for name, seconds in _stages(entry):
        shown.line(f"    {name:10} {_milliseconds(seconds)}")
        if name == "invoke":
            for each in _dicts(entry.get("delegates")):
                shown.line(f"        {_delegate(each)}")
    for each in sorted(_dicts(entry.get("plugins")), key=lambda each: -_seconds(each)):
        shown.line(f"    {_milliseconds(_seconds(each))}  {_plugin(each)}")
    error = entry.get("error")
    if isinstance(error, dict):
        code = int(_number(error.get("code")))
        shown.finding(Finding(ERROR, "failed", str(error.get("msg")), code=code))


def _stages(entry: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    stages = entry.get("stages")
    for name, seconds in (stages if isinstance(stages, dict) else {}).items():
        yield str(name), _number(seconds)


def _plugin(each: Mapping[str, Any]) -> str:
    waited = _number(each.get("waited"))
    only = f", {_milliseconds(waited).strip()} of them waiting" if waited >= _NOTED else ""
    return f"{each.get('task')} of {each.get('plugin')}{only}"


def _delegate(each: Mapping[str, Any]) -> str:
    by = ", ".join(map(str, _list(each.get("invokers"))))
    took = _milliseconds(_seconds(each))
    return f"{each.get('ifname')!s:15} {took}  {each.get('types')} by {by}, {each.get('network')}"


# The file may be damaged or of another version: values of a wrong type are shown as empty.


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e12 else 0.0


def _seconds(each: Mapping[str, Any]) -> float:
    return _number(each.get("seconds"))


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _dicts(value: object) -> list[Mapping[str, Any]]:
    return [each for each in _list(value) if isinstance(each, dict)]


def _stamp(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:8.1f} ms"
