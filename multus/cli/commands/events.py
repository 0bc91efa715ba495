"""Show past requests, one a line, and follow new ones.

It reads what 'multus trace' reads, which shows stages and plugins too.

Examples:
  multus events -f
  multus events --since 10m --failed
  multus events shop/web --command ADD
  multus events --network storage --json
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import Any

from multus.cli import screen, statuses, telling, tracing
from multus.cli.layout import Part
from multus.cli.recent import number, took
from multus.cli.screen import Screen

STATUSES = {0: "there are such requests", 1: "there is none, or no trace", **statuses.INTERRUPTED}


def configure(parser: argparse.ArgumentParser) -> None:
    tracing.configure(parser)
    parser.add_argument("--network", default="", help="only those that attached this network")
    parser.add_argument(
        "--command",
        default="",
        dest="verb",
        type=str.upper,
        choices=("ADD", "DEL", "CHECK", "GC", "STATUS"),
        help="only requests with this one",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print a line, or JSON, for each request."""
    shown = None if arguments.json else Screen.open()
    found = False
    telling.doing("reading the trace")
    if arguments.follow:
        telling.end()
    for each in _wanted(arguments):
        found = True
        if shown is None:
            screen.as_json(each, indent=None)
        else:
            shown.line(*_line(each), hang=4)
        if arguments.follow:
            screen.flush()
    if not found and shown is not None:
        shown.line(tracing.nothing(arguments, _what(arguments)))
    return 0 if found else 1


def _what(arguments: argparse.Namespace) -> str:
    """What kind of request is looked for, in words."""
    network = f" with network {arguments.network}" if arguments.network else ""
    return f"{arguments.verb} request{network}".strip()


def _wanted(arguments: argparse.Namespace) -> Iterator[tracing.Entry]:
    """Whole requests, without the entries of single delegates."""
    for each in tracing.chosen(arguments):
        if "delegate" in each:
            continue
        if arguments.verb and each.get("command") != arguments.verb:
            continue
        if arguments.network and arguments.network not in _networks(each):
            continue
        yield each


def _networks(entry: Mapping[str, Any]) -> list[str]:
    """The names of a request's networks, with and without their namespaces."""
    found = entry.get("delegates")
    listed = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    names = [str(each.get("network")) for each in listed]
    return [*names, *(name.rpartition("/")[2] for name in names)]


def _line(entry: Mapping[str, Any]) -> list[Part]:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(number(entry.get("time"))))
    who = entry.get("pod") or str(entry.get("container", ""))[:13] or "-"
    error = entry.get("error")
    parts: list[Part] = [f"{stamp}  ", (f"{entry.get('command', '?')!s:7}", "bold"), f"{who}  "]
    parts.append((f"{took(entry) * 1000:.1f} ms  ", "dim"))
    if isinstance(error, dict):
        code = int(number(error.get("code")))
        return [*parts, ("failed ", "red"), f"[code {code}] {error.get('msg')}"]
    return [*parts, ", ".join(_networks(entry)[: len(_networks(entry)) // 2])]
