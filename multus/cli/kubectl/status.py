"""Show every node in a line: version, attachments, fullest range, what is wrong.

Examples:
  kubectl multus status
  kubectl multus status node-a node-b -o wide
  kubectl multus status -l node-role.kubernetes.io/worker -o json
  kubectl multus status -o name              the nodes, without asking them

What is wrong stands below the table, with the names of the nodes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from multus.cli import screen, statuses
from multus.cli.findings import ERROR, OK, STATUS_OK, UNCHECKED, WARNING, Finding, Tally
from multus.cli.kubectl import nodes
from multus.cli.kubectl.nodes import Answer
from multus.cli.kubectl.shown import add_output, counted, findings_of, grouped, printed, table

_TITLES = ("NODE", "STATE", "VERSION", "ATTACHED", "FULLEST RANGE")
_WIDE = ("DEFAULT", "CALLS", "API SERVER", "CONFIGURATION", "POD")

STATUSES = statuses.CHECKING


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose nodes, and the form of the output."""
    parser.add_argument("nodes", nargs="*", metavar="NODE", help="only these nodes")
    parser.add_argument("-l", "--selector", default="", help="only nodes with these labels")
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a table and the findings, or ``{nodes: [{node, pod, report or failure}]}``."""
    cluster = nodes.cluster_of(arguments)
    chosen = cluster.nodes(arguments.nodes, arguments.selector)
    if arguments.output == "name":
        for node in chosen:
            screen.say(f"node/{node.name}")
        return STATUS_OK
    command = ("status", "--root", "/host", "--json", *arguments.passed_on)
    answers = cluster.reports(chosen, *command)
    tally = Tally([found for each in answers for found in findings_of(each)])
    if not printed(arguments.output, answers):
        wide = arguments.output == "wide"
        table((*_TITLES, *(_WIDE if wide else ())), [_row(each, wide) for each in answers], wide)
        shown = screen.Screen.open()
        if tally.findings:
            shown.line()
        for finding in grouped(answers):
            shown.finding(finding)
        if not tally.findings:
            shown.finding(Finding(OK, f"{len(answers)} node(s)", "nothing is wrong"))
    return tally.status


def _row(answer: Answer, wide: bool) -> tuple[str, ...]:
    report = answer.report
    if report is None:
        row = (answer.node.name, "not asked" if answer.node.lacks else "no answer", "-", "-", "-")
        return (*row, *("-",) * (len(_WIDE) - 1), answer.node.pod or "-") if wide else row
    row = (
        answer.node.name,
        _state(findings_of(answer)),
        str(report.get("version", "-")),
        str(_attached(report.get("networks"))),
        _fullest(report.get("ranges")),
    )
    more = (report.get(key) or "-" for key in ("defaultNetwork", "service", "api", "configuration"))
    return (*row, *map(str, more), answer.node.pod) if wide else row


def _state(findings: Sequence[Finding]) -> str:
    tally = Tally(findings)
    if tally.count(ERROR):
        return counted(tally.count(ERROR), "problem")
    if tally.count(WARNING):
        return counted(tally.count(WARNING), "warning")
    return "not known" if tally.count(UNCHECKED) else "ok"


def _attached(networks: object) -> int:
    counts = networks.values() if isinstance(networks, Mapping) else ()
    return sum(
        number
        for states in counts
        if isinstance(states, Mapping)
        for number in states.values()
        if isinstance(number, int)
    )


def _fullest(ranges: object) -> str:
    """The range with the largest share in use."""
    listed = ranges if isinstance(ranges, list) else []
    found = [each for each in map(_share, listed) if each is not None]
    if not found:
        return "-"
    part, name = max(found)
    return f"{part:.0%} {name}"


def _share(wire: Any) -> tuple[float, str] | None:
    if not isinstance(wire, Mapping):
        return None
    used, size = wire.get("used"), wire.get("size")
    if not isinstance(used, int) or not isinstance(size, int) or size <= 0:
        return None
    return used / size, f"{wire.get('network', '?')} {wire.get('spans', '')}".rstrip()
