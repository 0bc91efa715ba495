"""The report as tables of the documentation."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.load import Load
    from bench.report import Report
    from bench.rounds import Figure


def markdown(report: Report) -> str:
    """Everything in *report*, with the machine that it was measured on."""
    system = os.uname()
    machine = (
        f"Measured on {os.cpu_count()} cores, {system.sysname} {system.release}, Python"
        f" {platform.python_version()} ({platform.python_implementation()}). Medians, ms; behind"
        " them what they are over direct execution of the same delegates in the same run."
    )
    sections = [
        machine,
        _figures(report.figures),
        _loads(report.loads),
        _rows("The start of a process", "ms", _in_ms(report.starts)),
        _rows("The first ADD of one network after a start", "ms", _in_ms(report.cold)),
        _rows("Peak memory of a process", "MB", _in_mb(report.peaks.items())),
        _rows(
            "Memory of all processes of the daemon, caches on, after so many pods",
            "MB",
            _in_mb((str(each.pods), each.size) for each in report.growth),
        ),
        _singles(report),
    ]
    return "\n\n".join(each for each in sections if each) + "\n"


def _figures(figures: Sequence[Figure]) -> str:
    networks = list(dict.fromkeys(each.networks for each in figures))
    heads = [f"{verb}, {count}" for verb in ("ADD", "DEL") for count in networks]
    rows = []
    for way in dict.fromkeys(each.way for each in figures):
        mine = {each.networks: each for each in figures if each.way == way}
        adds = [f"{_ms(mine[n].add)} ({mine[n].add_ratio:.2f})" for n in networks]
        deletes = [f"{_ms(mine[n].delete)} ({mine[n].delete_ratio:.2f})" for n in networks]
        rows.append([way, *adds, *deletes])
    return _table(["", *heads], rows)


def _loads(loads: Sequence[Load]) -> str:
    rows = [
        [
            each.way,
            each.verb,
            str(each.at_once),
            f"{each.per_second:.1f} ({each.ratio:.2f})",
            _ms(each.p50),
            _ms(each.p99),
        ]
        for each in loads
    ]
    heads = ["pods of four networks", "", "at once", "pods per second", "p50", "p99"]
    return _table(heads, rows) if rows else ""


def _singles(report: Report) -> str:
    calls = ", ".join(f"{count} {method}" for method, count in sorted(report.api.items()))
    return (
        f"A warm ADD of four networks asks the API server for {calls} before it answers."
        f" STATUS takes {_ms(report.status)} ms of the daemon's own time."
    )


def _in_ms(rows: dict[str, float]) -> list[tuple[str, str]]:
    return [(name, _ms(seconds)) for name, seconds in rows.items()]


def _in_mb(rows: Iterable[tuple[str, int]]) -> list[tuple[str, str]]:
    return [(name, f"{size / 1e6:.1f}") for name, size in rows]


def _rows(title: str, unit: str, rows: Sequence[tuple[str, str]]) -> str:
    return _table([title, unit], [list(row) for row in rows]) if rows else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ms(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.1f}"
