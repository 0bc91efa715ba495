"""Draw which pod of this node is attached to what, and how full the ranges are.

The picture has each pod's interfaces, the host's end of each, the bridge,
master or card behind it, and the ranges and gateways of the networks there.

Examples:
  multus graph
  multus graph --svg node.svg       a drawing; - is standard output
  multus graph --json | jq '.pods[] | select(.problem != "")'
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from multus.cli import screen
from multus.cli.attachments import CNI_DIR

if TYPE_CHECKING:
    from multus.picture.model import Node


STATUSES = {0: "everything was read", 1: "something could not be read; the picture says what"}


def configure(parser: argparse.ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--svg", default="", metavar="FILE", help="write an SVG file")
    form.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cni-dir", default=CNI_DIR, help="the folder of records (%(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Print a tree or JSON (``multus.picture.model.Node.to_wire``), or write a drawing."""
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


def _draw(node: Node, file: str) -> None:
    from multus.picture.svg import drawing

    text = drawing(node)
    if file == "-":
        screen.document(text)
    else:
        with open(file, "w", encoding="utf-8") as there:
            there.write(text)
