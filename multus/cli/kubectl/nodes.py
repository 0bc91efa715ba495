"""The nodes, the pod of Multus on each, and what its program answers there."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from attrs import frozen

from multus.api.errors import IOFailure, NotAvailable
from multus.cli import telling
from multus.cli.findings import UNCHECKED, Finding
from multus.cli.kubectl.access import Kubectl, NoAnswer

#: So many nodes are asked at a time: each is a process of kubectl.
AT_ONCE = 16
_NAMESPACE = "kube-system"
#: Every way to install Multus sets it on the DaemonSet's pods.
SELECTOR = "app.kubernetes.io/name=multus-python"
CONTAINER = "daemon"

_READY = '{.status.conditions[?(@.type=="Ready")].status}'
_OS = "{.metadata.labels.kubernetes\\.io/os}"
_NODES = '{range .items[*]}{.metadata.name}{"\\t"}' + _READY + '{"\\t"}' + _OS + '{"\\n"}{end}'
_PODS = (
    '{range .items[*]}{.spec.nodeName}{"\\t"}{.metadata.name}{"\\t"}{.status.phase}{"\\t"}'
    '{.metadata.deletionTimestamp}{"\\t"}{.spec.containers[*].name}{"\\n"}{end}'
)

_T = TypeVar("_T")


@frozen
class Node:
    """A node; ``pod`` is that of Multus, "" without one, and ``lacks`` says why it has none."""

    name: str
    pod: str = ""
    lacks: str = ""
    ready: bool = True


@frozen
class Answer:
    """What a node answered: a report, or the reason why there is none."""

    node: Node
    report: Mapping[str, Any] | None = None
    failure: str = ""

    @property
    def finding(self) -> Finding:
        """The failure, as a finding: this node could not be looked at."""
        fix = "" if self.node.ready else "the node is not Ready: see 'kubectl describe node'"
        return Finding(UNCHECKED, "node", self.failure, fix)


@frozen
class Cluster:
    """The nodes of a cluster, asked through the pods of Multus in *namespace*."""

    kubectl: Kubectl
    namespace: str

    def nodes(self, names: Sequence[str] = (), selector: str = "") -> list[Node]:
        """The Linux nodes with these names and labels, all without; ``NotAvailable`` for none."""
        chosen = ("-l", selector) if selector else ()
        listed = self.kubectl.ask("get", "nodes", *names, *chosen, "-o", _items(_NODES, names))
        rows = (_fields(line, 3) for line in listed.splitlines() if line)
        ready = {name: state for name, state, system in rows if system in ("", "linux")}
        if not ready:
            raise NotAvailable("no node matches", fix="'kubectl get nodes --show-labels' lists all")
        pods = self._pods()
        if not pods:
            raise NotAvailable(
                f"namespace {self.namespace} has no pod of Multus ({SELECTOR})",
                fix="install its DaemonSet, or name its namespace by --multus-namespace",
            )
        return [self._node(name, state, pods.get(name)) for name, state in sorted(ready.items())]

    def _pods(self) -> dict[str, tuple[str, str]]:
        """The pod of each node, and its phase; one that runs and stays comes first."""
        where = ("-n", self.namespace, "-l", SELECTOR)
        listed = self.kubectl.ask("get", "pods", *where, "-o", f"jsonpath={_PODS}")
        found: dict[str, tuple[str, str]] = {}
        rows = (_fields(line, 5) for line in listed.splitlines() if line)
        for node, pod, phase, ending, containers in sorted(rows, key=_preference):
            if node and CONTAINER in containers.split():
                found.setdefault(node, (pod, "is ending" if ending else f"is {phase}"))
        return found

    def _node(self, name: str, state: str, pod: tuple[str, str] | None) -> Node:
        ready = state == "True"
        if pod is None:
            return Node(name, lacks="Multus has no pod on this node", ready=ready)
        if pod[1] not in ("is Running", "is ending"):
            return Node(name, lacks=f"pod {pod[0]} of Multus {pod[1]}", ready=ready)
        return Node(name, pod[0], ready=ready)

    def reports(self, nodes: Sequence[Node], *command: str) -> list[Answer]:
        """What ``multus COMMAND`` reports on each node as JSON, in the order of *nodes*."""
        return self._each(nodes, lambda node: self._report(node, command))

    def _report(self, node: Node, command: Sequence[str]) -> Answer:
        if node.lacks:
            return Answer(node, failure=node.lacks)
        try:
            done = self.kubectl.run(*self.exec(node, *command))
        except NoAnswer as error:
            return Answer(node, failure=error.said)
        try:
            report = json.loads(done.stdout)
        except (ValueError, RecursionError):
            report = None
        if not isinstance(report, dict):
            return Answer(node, failure=f"no report: {done.said}")
        return Answer(node, report)

    def exec(self, node: Node, *command: str, stdin: bool = False) -> list[str]:
        """The arguments for kubectl that run ``multus COMMAND`` on *node*."""
        given = ["-i"] if stdin else []
        where = ["-n", self.namespace, node.pod, "-c", CONTAINER]
        return ["exec", *given, *where, "--", "multus", *command]

    def _each(self, nodes: Sequence[Node], ask: Callable[[Node], _T]) -> list[_T]:
        # Nodes that are not Ready come last: they are likely to use up their time.
        order = sorted(range(len(nodes)), key=lambda index: not nodes[index].ready)
        workers = ThreadPoolExecutor(min(AT_ONCE, len(nodes)))
        try:
            said = f"waiting for {len(nodes)} node(s), at most {self.kubectl.seconds:g} s each"
            telling.doing(f"{said} (--timeout)")
            asked = {index: workers.submit(ask, nodes[index]) for index in order}
            return [asked[index].result() for index in range(len(nodes))]
        finally:
            workers.shutdown(cancel_futures=True)


def _items(template: str, names: Sequence[str]) -> str:
    """*template* for ``kubectl get``, which prints a list unless one object is named."""
    if len(names) == 1:
        template = template.replace("{range .items[*]}", "").replace("{end}", "")
    return f"jsonpath={template}"


def _fields(line: str, count: int) -> list[str]:
    found = line.split("\t")
    if len(found) != count:
        raise IOFailure(f"kubectl printed {line[:80]!r}: it has not {count} fields")
    return found


def _preference(row: Sequence[str]) -> tuple[bool, bool, str]:
    _, pod, phase, ending, _ = row
    return phase != "Running", bool(ending), pod


def configure(parser: argparse._ArgumentGroup) -> None:
    """Add the option that says where Multus is."""
    known = os.environ.get("MULTUS_NAMESPACE") or _NAMESPACE
    parser.add_argument(
        "--multus-namespace",
        metavar="NAMESPACE",
        help=f"where the DaemonSet of Multus is; also MULTUS_NAMESPACE ({known})",
    )


def cluster_of(arguments: argparse.Namespace) -> Cluster:
    """The cluster that the command line names."""
    from multus.cli.kubectl.access import kubectl_of

    known = os.environ.get("MULTUS_NAMESPACE") or _NAMESPACE
    namespace = getattr(arguments, "multus_namespace", "") or known
    return Cluster(kubectl_of(arguments), namespace)
