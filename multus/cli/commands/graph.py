"""Draw which pod of this node is attached to what, and how full the ranges are.

The picture has each pod's interfaces, the host's end of each, the bridge,
master or card behind it, and the ranges and gateways of the networks there.

With --kubeconfig it is a cluster's: who has which address, nodes by networks,
addresses that two pods have in one network, pods that asked for networks and
have no status. All of that is read from the annotations of pods, which needs
the right to list pods and nothing else.

Examples:
  multus graph
  multus graph --svg node.svg       a drawing; - is standard output
  multus graph --json | jq '.pods[] | select(.problem != "")'
  multus graph --kubeconfig ~/.kube/config --context east
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from multus.cli import attachments, screen, telling
from multus.cli.clusters import add_cluster

if TYPE_CHECKING:
    from multus.picture.model import Node

STATUSES = {
    0: "everything was read",
    1: "something could not be read, and the picture says what; of a cluster also when an address"
    " is there twice or a status is missing",
}


def configure(parser: argparse.ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--svg", default="", metavar="FILE", help="write an SVG file")
    form.add_argument("--json", action="store_true", help="print JSON")
    attachments.configure(parser)
    add_cluster(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a tree or JSON (``multus.picture.model.Node.to_wire``), or write a drawing."""
    if arguments.kubeconfig:
        return _of_cluster(arguments)
    from multus.picture.reading import read

    node = read(arguments.cni_dir)
    if arguments.json:
        screen.as_json(node.to_wire())
    elif arguments.svg:
        _draw(node, arguments.svg)
    else:
        from multus.cli.tree import Tree

        shown = screen.Screen.open()
        for line in Tree(node, shown.width, plain=shown.is_ascii).lines():
            shown.part(*line)
            screen.write("\n")
    return 1 if node.notes else 0


def _of_cluster(arguments: argparse.Namespace) -> int:
    """Print tables, or JSON (``multus.picture.cluster.model.Cluster.to_wire``)."""
    from multus.cli.matrix import problems, tables
    from multus.picture.cluster.model import summary
    from multus.picture.cluster.reading import open_client, read

    if arguments.svg:
        screen.complain("multus graph: --svg draws a node: leave out --kubeconfig")
        return 2
    client = open_client(arguments.kubeconfig, arguments.context)
    try:
        telling.doing(f"waiting for {client.server}")
        cluster = read(client)
    finally:
        client.close()
    if arguments.json:
        screen.as_json(cluster.to_wire())
    else:
        shown = screen.Screen.open()
        for line in tables(cluster, shown.width if screen.out().isatty() else 0):
            shown.part(*line)
            screen.write("\n")
        for line in problems(cluster):
            shown.line(*line, hang=2)
        shown.line((cluster.name, "bold"), f": {summary(cluster)}", hang=2)
    return 0 if cluster.is_right else 1


def _draw(node: Node, file: str) -> None:
    from multus.picture.svg import drawing

    text = drawing(node)
    if file == "-":
        screen.document(text)
    else:
        with open(file, "w", encoding="utf-8") as there:
            there.write(text)
