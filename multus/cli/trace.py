"""Show what past requests for a container did, stage by stage, with times.

The trace is written by the plugin multus-observer-trace, and holds the last few thousand requests.

Examples:
  multus trace 0123456789ab           a container, by the beginning of its ID
  multus trace default/web            a pod
  multus trace --failed               every request that failed
  multus trace --last 3 --json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from multus.errors import MissingPlugin
from multus.ops.attachments import CNI_DIR
from multus.tracefile import read

if TYPE_CHECKING:
    from rich.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "container",
        nargs="?",
        default="",
        metavar="CONTAINER",
        help="the beginning of a container's ID, or NAMESPACE/NAME of a pod; without it, all",
    )
    parser.add_argument("--failed", action="store_true", help="only what failed")
    parser.add_argument("--last", type=int, default=0, metavar="N", help="only the last N entries")
    parser.add_argument("--cni-dir", default=CNI_DIR, metavar="FOLDER", help="(%(default)s)")
    parser.add_argument("--json", action="store_true", help="for programs, an entry a line")


def run(arguments: argparse.Namespace) -> int:
    """Print the entries; status 1 when there is none."""
    try:
        found = [each for each in read(arguments.cni_dir) if _is_wanted(each, arguments)]
    except FileNotFoundError as error:
        raise MissingPlugin(
            f"there is no trace ({error.args[0]}): install multus-observer-trace; what happens from"
            " then on is written down"
        ) from error
    found = found[-arguments.last :] if arguments.last else found
    if arguments.json:
        for each in found:
            print(json.dumps(each))
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
    from multus.ops import screen

    console = screen.screen()
    if not entries:
        console.print(
            f"the trace has nothing of {wanted or 'anybody'}: it was never here, or longer ago",
            markup=False,
        )
        return
    for each in entries:
        _show_one(console, each)


def _show_one(console: Console, entry: Mapping[str, Any]) -> None:
    from rich.text import Text

    from multus.ops import screen

    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(entry.get("time", 0))))
    who = entry.get("pod") or str(entry.get("container", ""))[:13] or "-"
    line = Text(f"{stamp}  ")
    line.append(f"{entry.get('command', '?'):6}", style="bold")
    line.append(f"{who}, {entry.get('ifname') or '-'}")
    delegate = entry.get("delegate")
    if isinstance(delegate, dict):
        verb = "undone" if entry.get("undone") else "removed"
        line.append(f": {verb} {delegate.get('ifname')} ({delegate.get('types')},")
        line.append(f" {delegate.get('network')})")
    else:
        total = sum(seconds for _, seconds in _stages(entry))
        line.append(f": {_milliseconds(total)}" if total else "")
    console.print(line, soft_wrap=True)
    for name, seconds in _stages(entry):
        console.print(f"    {name:10} {_milliseconds(seconds)}", markup=False)
        if name == "invoke":
            for each in entry.get("delegates") or []:
                console.print(f"        {_delegate(each)}", markup=False, soft_wrap=True)
    error = entry.get("error")
    if isinstance(error, dict):
        from multus.ops.findings import ERROR, Finding

        said = Finding(ERROR, "failed", str(error.get("msg")), code=int(error.get("code", 0)))
        screen.finding(console, said)


def _stages(entry: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    stages = entry.get("stages")
    for name, seconds in (stages if isinstance(stages, dict) else {}).items():
        yield str(name), float(seconds)


def _delegate(each: Mapping[str, Any]) -> str:
    by = ", ".join(each.get("invokers") or [])
    took = _milliseconds(float(each.get("seconds", 0)))
    return f"{each.get('ifname'):15} {took}  {each.get('types')} by {by}, {each.get('network')}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:8.1f} ms"
