"""The options of commands that look at a cluster in place of this node."""

from __future__ import annotations

import argparse


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a cluster."""
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help="look at a cluster")
    parser.add_argument("--context", default="", help="of the kubeconfig, in place of its own")
