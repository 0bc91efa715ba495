"""The answers of several nodes in one output."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from multus.cli import screen
from multus.cli.findings import SEVERITIES, UNCHECKED, Finding, Place
from multus.cli.kubectl.nodes import Answer

#: So many nodes are named before a finding; the others are counted.
_NAMED = 3


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the option for the form of the output."""
    forms = ("wide", "json", "yaml", "name")
    parser.add_argument("-o", "--output", choices=forms, help="another form of the output")


def findings_of(answer: Answer) -> list[Finding]:
    """What a node reports; one finding when it did not."""
    if answer.report is None:
        return [answer.finding]
    listed = answer.report.get("findings")
    if not isinstance(listed, list):
        return [Finding(UNCHECKED, "node", "its report has no findings")]
    return [_finding(each) for each in listed]


def _finding(wire: Any) -> Finding:
    """A finding of another version of Multus, perhaps: an unknown severity is "not checked"."""
    if not isinstance(wire, Mapping):
        return Finding(UNCHECKED, "node", "its report has a malformed finding")
    severity, code = wire.get("severity"), wire.get("code")
    line, column = wire.get("line"), wire.get("column")
    numbers = (line, column) if isinstance(line, int) and isinstance(column, int) else ()
    return Finding(
        severity if severity in SEVERITIES else UNCHECKED,
        str(wire.get("subject", "?")),
        str(wire.get("reason", "?")),
        str(wire.get("fix") or ""),
        Place(str(wire["file"]), *numbers) if wire.get("file") else None,
        code if isinstance(code, int) else 0,
    )


def grouped(answers: Sequence[Answer]) -> list[Finding]:
    """Each finding once, with its nodes before its subject; the worst first."""
    nodes: dict[Finding, list[str]] = {}
    for answer in answers:
        for finding in dict.fromkeys(findings_of(answer)):
            nodes.setdefault(finding, []).append(answer.node.name)
    found = [
        evolve(finding, subject=f"{_named(names, len(answers))}: {finding.subject}")
        for finding, names in nodes.items()
    ]
    return sorted(found, key=lambda each: SEVERITIES.index(each.severity))


def _named(names: Sequence[str], of: int) -> str:
    if len(names) == of > _NAMED:
        return f"all {of} nodes"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def counted(number: int, what: str) -> str:
    """A number and a noun: ``2 problems``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def to_wire(answer: Answer, report: object) -> dict[str, Any]:
    """A node's answer as ``-o json`` prints it."""
    found = {"node": answer.node.name, "pod": answer.node.pod, "ready": answer.node.ready}
    return {**found, **({"failure": answer.failure} if report is None else {"report": report})}


def printed(form: str | None, answers: Sequence[Answer]) -> bool:
    """Print the answers as JSON or YAML; False for any other form."""
    if form not in ("json", "yaml"):
        return False
    as_form(form, {"nodes": [to_wire(each, each.report) for each in answers]})
    return True


def as_form(form: str, value: Any) -> None:
    """Print a value as ``json`` or ``yaml``."""
    if form == "json":
        screen.as_json(value)
    else:
        from yaml import safe_dump

        screen.document(safe_dump(value, sort_keys=False, allow_unicode=False))


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], wide: bool) -> None:
    """Print a table; on a terminal its widest columns are cut to fit, unless it is *wide*."""
    from multus.cli.layout import table as laid_out

    shown = screen.Screen.open()
    width = 0 if wide or not screen.out().isatty() else shown.width
    for line in laid_out(titles, rows, width):
        # Not `line`, which would wrap a wide one.
        shown.part(*line)
        screen.write("\n")
