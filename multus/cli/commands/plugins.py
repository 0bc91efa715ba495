"""List the installed plugins, their hooks and problems.

Examples:
  multus plugins
  multus plugins --json | jq '.broken, .clashes, .warnings'
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from multus.api import hookspecs
from multus.cli import screen, telling
from multus.log._printable import printable
from multus.registry.entry import registered_names
from multus.registry.index import discover
from multus.registry.loading import Installed, load
from multus.registry.warnings import warnings_of

STATUSES = {0: "all plugins can be used", 1: "one cannot be loaded, or two clash"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print tables or JSON; status 1 when a plugin cannot be used."""
    telling.doing("loading the plugins")
    installed = load(discover())
    report = describe(installed)
    if arguments.json:
        screen.as_json(report)
    else:
        _show(report)
    return 1 if installed.broken or installed.clashes else 0


def describe(installed: Installed) -> dict[str, Any]:
    """The plugins, their problems, and the plugins of each hook in the order of calls.

    ``{plugins: […], broken: […], clashes: […], warnings: […], hooks: {hook: [plugin, …]}}``.
    """
    names = registered_names(installed.loaded)
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
                "file": installed.modules[name].__file__,
                "hooks": [hook for hook, users in hooks.items() if name in users],
            }
            for entry, name in zip(installed.loaded, names, strict=True)
        ],
        "broken": [
            {
                "name": each.entry.name,
                "distribution": each.entry.distribution,
                "version": each.entry.version,
                "reason": each.reason,
                "fix": each.fix,
            }
            for each in installed.broken
        ],
        "clashes": [{"reason": str(each), "fix": each.fix} for each in installed.clashes],
        "warnings": [
            {
                "name": each.entry.name,
                "distribution": each.entry.distribution,
                "version": each.entry.version,
                "reason": each.reason,
                "fix": each.fix,
            }
            for each in warnings_of(installed)
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
        [("HOOK", "CALLED IN THIS ORDER")]
        + [(hook, " ".join(users) or "-") for hook, users in report["hooks"].items()]
    )
    for title, kind in (("not loaded", "broken"), ("clash", "clashes"), ("warning", "warnings")):
        for each in report[kind]:
            named = "name" in each  # a clash involves several plugins
            of = f"{each['name']} of {each['distribution']} {each['version']}: " if named else ""
            screen.say()
            screen.tell(f"{title}: {of}{each['reason']}")
            screen.tell(f"    {each['fix']}")


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    cells = [[printable(cell) for cell in row] for row in rows]
    if screen.is_too_wide(cells):
        screen.records(cells[0], cells[1:])
        return
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        screen.say("  ".join(padded).rstrip())
