"""List the attachments of all nodes: pods, interfaces, networks, addresses.

Examples:
  kubectl multus attachments                  of the current namespace
  kubectl multus attachments web-0 -n shop -o wide
  kubectl multus attachments -A --network storage
  kubectl multus attachments -l app=web -o name | xargs kubectl get -o wide
  kubectl multus attachments -A --node node-a -o json

The rows are from each node's own record, not from annotations. On a terminal,
columns that are too wide are cut; '-o wide' cuts nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from multus.cli import screen
from multus.cli.commands.attachments import TITLES, WIDE, rows
from multus.cli.findings import STATUS_OK, STATUS_PROBLEM, STATUS_UNCHECKED
from multus.cli.kubectl import nodes
from multus.cli.kubectl.access import Kubectl
from multus.cli.kubectl.nodes import Answer
from multus.cli.kubectl.shown import add_output, as_form, table, to_wire

STATUSES = {
    0: "every node was asked",
    1: "a node cannot read a file, or the command failed",
    3: "a node does not answer",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose pods, networks and nodes, and the form of the output."""
    parser.add_argument("pods", nargs="*", metavar="POD", help="only of these pods")
    parser.add_argument("-n", "--namespace", default="", help="only of pods in this namespace")
    parser.add_argument(
        "-A", "--all-namespaces", action="store_true", help="of the pods of all namespaces"
    )
    parser.add_argument("-l", "--selector", default="", help="only of pods with these labels")
    parser.add_argument(
        "--network", default="", help="only to this network: NAME or NAMESPACE/NAME"
    )
    parser.add_argument("--node", action="append", default=[], help="only of this node")
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a table, or ``{nodes: [{node, pod, report or failure}]}``."""
    cluster = nodes.cluster_of(arguments)
    chosen = cluster.nodes(arguments.node)
    namespace = "" if arguments.all_namespaces else namespace_of(arguments, cluster.kubectl)
    filters = [f"--namespace={namespace}"] if namespace else []
    filters += [f"--network={arguments.network}"] if arguments.network else []
    wanted = _pods(arguments, namespace, cluster.kubectl)
    command = ("attachments", "--json", *filters, *arguments.passed_on)
    answers = cluster.reports(chosen, *command)
    found = {each.node.name: _records(each, wanted) for each in answers}
    if arguments.output in ("json", "yaml"):
        reports = [_with(each, found[each.node.name]) for each in answers]
        as_form(arguments.output, {"nodes": reports})
    elif arguments.output == "name":
        pods = (record["pod"] for records in found.values() for record in records)
        for pod in dict.fromkeys(pods):
            screen.say(f"pod/{pod.rpartition('/')[2]}" if pod else "")
    else:
        _show(found, wide=arguments.output == "wide")
    return _complain(answers)


def namespace_of(arguments: argparse.Namespace, kubectl: Kubectl) -> str:
    """The namespace that is named, else the context's."""
    if arguments.namespace:
        return str(arguments.namespace)
    found = kubectl.run("config", "view", "--minify", "-o", "jsonpath={..namespace}")
    return found.stdout.decode(errors="replace").strip() or "default"


def _pods(arguments: argparse.Namespace, namespace: str, kubectl: Kubectl) -> set[str] | None:
    """The pods that names and labels choose, as ``NAMESPACE/NAME``; None for all."""
    if not arguments.selector:
        if not arguments.pods:
            return None
        return {f"{namespace}/{each}" if namespace else f"/{each}" for each in arguments.pods}
    where = ("-n", namespace) if namespace else ("-A",)
    form = '{range .items[*]}{.metadata.namespace}/{.metadata.name}{"\\n"}{end}'
    chosen = ("-l", arguments.selector, "-o", f"jsonpath={form}")
    named = set(kubectl.ask("get", "pods", *where, *chosen).split())
    return {each for each in named if not arguments.pods or _name(each) in arguments.pods}


def _name(pod: str) -> str:
    return pod.rpartition("/")[2]


def _records(answer: Answer, wanted: set[str] | None) -> list[Mapping[str, Any]]:
    """The records of *wanted* pods; a name after a "/" alone is of any namespace."""
    listed = answer.report.get("records") if answer.report else None
    records = [each for each in listed if _is_record(each)] if isinstance(listed, list) else []
    if wanted is None:
        return records
    return [e for e in records if e["pod"] in wanted or f"/{_name(e['pod'])}" in wanted]


def _is_record(wire: object) -> bool:
    """Whether it has what ``rows`` reads; the node may have another version."""
    if not isinstance(wire, dict) or not isinstance(wire.get("pod"), str):
        return False
    try:
        list(rows(wire, wide=True))
    except (KeyError, TypeError, AttributeError):
        return False
    return True


def _with(answer: Answer, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    report = None if answer.report is None else {**answer.report, "records": records}
    return to_wire(answer, report)


def _show(found: Mapping[str, Sequence[Mapping[str, Any]]], *, wide: bool) -> None:
    titles = ("NODE", *TITLES, *(WIDE if wide else ()))
    lines = [
        (node, *row)
        for node, records in found.items()
        for record in records
        for row in rows(record, wide=wide)
    ]
    if lines:
        table(titles, lines, wide)


def _complain(answers: Sequence[Answer]) -> int:
    """Print what is missing to stderr, below the table; returns the exit status."""
    screen.flush()
    status = STATUS_OK
    for each in answers:
        if each.report is None:
            screen.complain(f"kubectl multus attachments: {each.node.name}: {each.failure}")
            status = status or STATUS_UNCHECKED
            continue
        errors = each.report.get("errors")
        for error in errors if isinstance(errors, list) else ():
            screen.complain(f"kubectl multus attachments: {each.node.name}: {error}")
            status = STATUS_PROBLEM
    return status
