"""Watch this node: calls, times, failures, addresses; q quits.

Numbers of calls and times are those of the last five minutes, from the trace
that multus-observer-trace writes. p99 is the time that 99 of 100 calls do not
exceed.

Examples:
  multus top
  multus top --interval 0.5
  multus top --once                     one screen, for a file
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multus.cli import numbers, screen, statuses, telling
from multus.cli.commands.status import configure_places, places

if TYPE_CHECKING:
    from multus.cli.findings import Finding
    from multus.cli.layout import Line
    from multus.cli.overview import Overview, Paths
    from multus.cli.recent import Recent, Times

#: The time over which calls are counted, in seconds.
_SPAN = 300.0
_QUIT = ("q", "Q", "\x03", "\x1b")
_MOST_CALLS = 5


STATUSES = {
    0: "ended by q",
    129: "ended by SIGHUP, when the terminal is closed",
    **statuses.INTERRUPTED,
    143: "ended by SIGTERM",
}


def configure(parser: argparse.ArgumentParser) -> None:
    configure_places(parser)
    parser.add_argument(
        "--interval",
        type=numbers.seconds,
        default=2.0,
        metavar="SECONDS",
        help="between two looks (2)",
    )
    parser.add_argument("--once", action="store_true", help="print one screen, and end")


def run(arguments: argparse.Namespace) -> int:
    """Draw until q is pressed; off a terminal, print once."""
    paths = places(arguments)
    if arguments.once or not screen.out().isatty():
        shown = screen.Screen.open()
        for line in _lines(paths, shown.width, plain=shown.is_ascii):
            shown.line(*line)
        return 0
    from multus.cli.terminal import Live

    telling.end()
    with Live.open() as live:
        pressed = ""
        while pressed not in _QUIT:
            shown = screen.Screen.open()
            lines = _lines(paths, shown.width, plain=shown.is_ascii)
            clock = time.strftime("%H:%M:%S")
            live.draw(lines, [("q quits", "bold"), (f"  {clock}", "dim")])
            pressed = live.wait(max(0.1, arguments.interval))
    return 0


def _lines(paths: Paths, width: int, *, plain: bool) -> list[Line]:
    from multus.cli import glance
    from multus.cli.findings import UNCHECKED
    from multus.cli.layout import fitted
    from multus.cli.overview import look
    from multus.cli.recent import recent

    found = look(paths)
    missed = [each for each in found.findings if each.severity == UNCHECKED]
    counts = recent(_entries(paths, found), _SPAN)
    unread = any(each.subject == "requests" and each.severity == UNCHECKED for each in missed)
    none = "not known" if unread else "none in the last five minutes"
    shown: list[Line] = [
        [("Multus", "bold"), f" on {found.node}: attached: {found.attached}"],
        [("calls  ", "dim"), found.service],
    ]
    shown += [*map(_unseen, missed), []]
    shown += [*_times("CALLS", counts.commands, width, none), []]
    shown.append([("NOW", "bold")])
    shown += [[each] for each in _now(paths)]
    shown.append([])
    if counts.plugins:
        shown += [*_times("PLUGIN", counts.plugins, width, none), []]
    if found.ranges:
        shown += [*glance.ranges(found.ranges, width, plain=plain), []]
    shown += _failures(counts, width, "not known" if unread else "none")
    return [fitted(line, width) for line in shown]


def _entries(paths: Paths, found: Overview) -> list[dict[str, Any]]:
    from multus.log.trace import read

    try:
        return list(read(paths.at(found.cni_dir)))
    except OSError:
        return []  # `_unseen` says why


def _unseen(missed: Finding) -> Line:
    """What could not be looked at, so that an empty list is not taken for "there is nothing"."""
    from multus.log._printable import printable

    # The line may be cut, so the remedy is first.
    fix = f" ({missed.fix})" if missed.fix else ""
    return [("not looked at", "bold"), printable(f"{fix}: {missed.reason}", 500)]


def _times(title: str, found: tuple[Times, ...], width: int, none: str) -> list[Line]:
    from multus.cli.layout import table

    rows = [
        (
            each.name,
            f"{60 * len(each.seconds) / _SPAN:.1f}",
            str(each.failed or "-"),
            f"{each.quantile(0.5) * 1000:.1f}",
            f"{each.quantile(0.99) * 1000:.1f}",
        )
        for each in found
    ]
    titles = (title, "PER MINUTE", "FAILED", "P50 MS", "P99 MS")
    if not found:
        return [[("CALLS", "bold")], [(none, "dim")]]
    return table(titles, rows, width)


def _now(paths: Paths) -> list[str]:
    """What the daemon's workers do, those that are busy; else a line that says so."""
    from multus.cli.commands.doctor.programs import control
    from multus.cli.overview import PATIENCE
    from multus.daemon.wire import Malformed
    from multus.log._printable import printable

    try:
        _, text = control(paths.at(paths.socket), b"workers", PATIENCE)
    except (OSError, Malformed):
        return ["no daemon says what runs"]
    lines = [printable(line) for line in text.splitlines()]
    busy = [line for line in lines if line.split()[1:] not in (["idle"], ["starting"])]
    more = [f"{len(busy) - _MOST_CALLS} more"] if len(busy) > _MOST_CALLS else []
    return [*busy[:_MOST_CALLS], *more] or [f"no call, {len(lines)} worker(s) are idle"]


def _failures(counts: Recent, width: int, none: str) -> list[Line]:
    from multus.cli.layout import fitted
    from multus.cli.recent import number
    from multus.log._printable import printable

    shown: list[Line] = [[("LAST FAILURES", "bold")]]
    for each in reversed(counts.failures):
        moment = time.strftime("%H:%M:%S", time.localtime(number(each.get("time"))))
        who = each.get("pod") or str(each.get("container", ""))[:13] or "-"
        error: Mapping[str, Any] = each["error"]
        text = printable(f"{each.get('command')} {who}: {error.get('msg')}", 500)
        shown.append(fitted([(f"{moment} ", "dim"), text], width))
    return shown if counts.failures else [*shown, [(none, "dim")]]
