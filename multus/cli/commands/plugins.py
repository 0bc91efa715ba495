"""Show the installed plugins: from where, which hooks, in which order.

Examples:
  multus plugins
  multus plugins --json
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from multus.api import hookspecs
from multus.cli import screen
from multus.log.printable import printable
from multus.registry.discovery import Installed, discover, load


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print a table, or JSON; status 1 when a plugin is broken."""
    installed = load(discover())
    report = describe(installed)
    if arguments.json:
        screen.as_json(report)
    else:
        _show(report)
    return 1 if installed.broken else 0


def describe(installed: Installed) -> dict[str, Any]:
    """``{plugins: […], broken: […], hooks: {hook: [plugin, … in order of call]}}``."""
    hooks = {
        name: [each.plugin_name for each in installed.hooks.implementations(name)]
        for name in vars(hookspecs)
        if name.startswith("multus_")
    }
    return {
        "plugins": [
            {
                "name": entry.name,
                "distribution": entry.distribution,
                "version": entry.version,
                "module": entry.module,
                "file": installed.modules[entry.name].__file__,
                "hooks": [hook for hook, users in hooks.items() if entry.name in users],
            }
            for entry in installed.loaded
        ],
        "broken": [
            {
                "name": each.entry.name,
                "distribution": each.entry.distribution,
                "version": each.entry.version,
                "reason": each.reason,
            }
            for each in installed.broken
        ],
        "hooks": hooks,
    }


def _show(report: dict[str, Any]) -> None:
    rows = [("PLUGIN", "DISTRIBUTION", "HOOKS", "FROM")]
    rows += [
        (
            each["name"],
            f"{each['distribution']} {each['version']}",
            ", ".join(hook.removeprefix("multus_") for hook in each["hooks"]),
            each["file"],
        )
        for each in report["plugins"]
    ]
    _print_table(rows)
    screen.say()
    _print_table(
        [("HOOK", "ASKED IN THIS ORDER")]
        + [(hook, " ".join(users) or "-") for hook, users in report["hooks"].items()]
    )
    for each in report["broken"]:
        screen.say()
        screen.say(
            f"not loaded: {each['name']} of {each['distribution']} {each['version']}:"
            f" {each['reason']}"
        )


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        screen.say("  ".join(padded).rstrip())
