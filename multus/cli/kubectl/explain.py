"""Explain what an ADD would do for a pod, on its node; changes nothing.

Examples:
  kubectl multus explain web-0 -n shop
  kubectl multus explain -f pod.yaml --node node-a
  kubectl multus explain web-0 -o json

'multus explain' runs in the pod of Multus on the pod's node, with that node's
configuration, plugins and rights. A pod of a file need not exist: the cluster's
NetworkAttachmentDefinitions are used, and those of the file replace them.
"""

from __future__ import annotations

import argparse
import json
import sys

from multus.api.errors import IOFailure, NotAvailable
from multus.cli import screen
from multus.cli.commands.explain import STATUSES as STATUSES
from multus.cli.kubectl import nodes
from multus.cli.kubectl.attachments import namespace_of
from multus.cli.kubectl.nodes import Cluster, Node
from multus.cli.kubectl.shown import as_form

#: What a pod of a file may name.
_DEFINITIONS = "network-attachment-definitions.k8s.cni.cncf.io"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a pod or files, a node, and the form of the output."""
    parser.add_argument("pod", nargs="?", default="", metavar="POD", help="a pod of the cluster")
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE",
        help="a file with a pod, and networks; may be repeated; - is stdin",
    )
    parser.add_argument("-n", "--namespace", default="", help="the pod's namespace")
    parser.add_argument("--node", default="", help="the node; of a file, the first with Multus")
    parser.add_argument("-o", "--output", choices=("json", "yaml"), help="print JSON or YAML")


def run(arguments: argparse.Namespace) -> int:
    """Print the node's explanation; the status is that of ``multus explain``."""
    if bool(arguments.pod) == bool(arguments.filename):
        screen.complain("kubectl multus explain: name a pod, or a file by -f")
        return 2
    cluster = nodes.cluster_of(arguments)
    words, given = ["explain", "--root", "/host"], None
    if arguments.pod:
        namespace = namespace_of(arguments, cluster.kubectl)
        name = arguments.node or _node_of(cluster, namespace, arguments.pod)
        words += ["--pod", f"{namespace}/{arguments.pod}"]
    else:
        name, given = arguments.node, _objects(cluster, arguments.filename)
        words += ["-f", "-"]
    node = _askable(cluster.nodes([name] if name else []))
    words += ["--json"] if arguments.output else []
    command = cluster.exec(node, *words, *arguments.passed_on, stdin=given is not None)
    done = cluster.kubectl.run(*command, stdin=given)
    if arguments.output and done.stdout:
        as_form(arguments.output, {"node": node.name, **_object(done.stdout)})
    elif done.stdout:
        screen.say(f"on node {node.name}, as pod {node.pod} sees it")
        screen.document(done.stdout.decode(errors="replace"))
    else:
        screen.complain(f"kubectl multus explain: {node.name}: {done.said}")
    return done.status


def _node_of(cluster: Cluster, namespace: str, pod: str) -> str:
    form = "jsonpath={.spec.nodeName}"
    name = cluster.kubectl.ask("get", "pod", pod, "-n", namespace, "-o", form).strip()
    if not name:
        raise NotAvailable(
            f"pod {namespace}/{pod} has no node yet", fix="name a node by --node, or wait"
        )
    return name


def _objects(cluster: Cluster, paths: list[str]) -> bytes:
    """The cluster's definitions, and the files, as documents of one stream."""
    listed = cluster.kubectl.ask("get", _DEFINITIONS, "-A", "-o", "json")
    texts = [listed.encode()]
    for path in paths:
        if path == "-":
            texts.append(sys.stdin.buffer.read())
        else:
            with open(path, "rb") as file:
                texts.append(file.read())
    # It begins as YAML does: the text of a file may be JSON, and more follows it.
    return b"".join(b"\n---\n" + text for text in texts)


def _askable(found: list[Node]) -> Node:
    """The first node with Multus, those that are Ready before others."""
    able = sorted((each for each in found if not each.lacks), key=lambda each: not each.ready)
    if not able:
        raise NotAvailable(f"{found[0].name}: {found[0].lacks}", fix="name another node by --node")
    return able[0]


def _object(text: bytes) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise IOFailure("the node printed something that is no explanation")
    return found
