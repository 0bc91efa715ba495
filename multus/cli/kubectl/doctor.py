"""Check all nodes as 'multus doctor' checks one; what is found on several is said once.

Examples:
  kubectl multus doctor
  kubectl multus doctor node-a -o wide       what is right, too
  kubectl multus doctor -o name              the nodes with an error
  kubectl multus doctor -- --net-d /srv/net.d

Interfaces and firewall rules are not looked at from a pod: run 'multus doctor'
on the node for these.
"""

from __future__ import annotations

import argparse

from multus.cli import screen, statuses
from multus.cli.findings import ERROR, NOT_APPLICABLE, OK, Finding, Tally
from multus.cli.kubectl import nodes, status
from multus.cli.kubectl.shown import findings_of, grouped, printed

STATUSES = statuses.CHECKING

configure = status.configure


def run(arguments: argparse.Namespace) -> int:
    """Print the findings and their sum, or ``{nodes: [{node, pod, report or failure}]}``."""
    cluster = nodes.cluster_of(arguments)
    chosen = cluster.nodes(arguments.nodes, arguments.selector)
    command = ("doctor", "--root", "/host", "--json", *arguments.passed_on)
    answers = cluster.reports(chosen, *command)
    tally = Tally([found for each in answers for found in findings_of(each)])
    if arguments.output == "name":
        for each in answers:
            if Tally(findings_of(each)).count(ERROR):
                screen.say(f"node/{each.node.name}")
    elif not printed(arguments.output, answers):
        shown = screen.Screen.open()
        hidden = () if arguments.output == "wide" else (OK, NOT_APPLICABLE)
        found = [each for each in grouped(answers) if each.severity not in hidden]
        for finding in found:
            shown.finding(finding)
        if found:
            shown.line()
        silent = sum(each.report is None for each in answers)
        asked = f"{len(answers)} node(s)" + (f", {silent} without an answer" if silent else "")
        said = f"{tally.count(OK)} ok, {tally}, {tally.count(NOT_APPLICABLE)} not applicable"
        shown.finding(Finding(tally.severity, asked, said))
    return tally.status
