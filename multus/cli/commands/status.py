"""Show this node on one screen: daemon, networks, addresses, what is wrong.

'multus doctor' looks at much more, and says more about each finding.

Examples:
  multus status
  multus status --wait 60 --json > status.json
  multus status --json | jq .ranges
  multus status --root /host    in a container with the node's / at /host

With --wait, the exit status is that of the last look.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING

from multus.cli import numbers, screen, statuses, telling
from multus.cli.node import BIN_DIR, NET_D

if TYPE_CHECKING:
    from multus.cli.overview import Overview, Paths

#: Between two looks of --wait, in seconds.
_PAUSE = 0.5


STATUSES = statuses.CHECKING


def configure(parser: argparse.ArgumentParser) -> None:
    configure_places(parser)
    parser.add_argument(
        "--wait",
        type=numbers.seconds,
        default=0.0,
        metavar="SECONDS",
        help="wait until the status is 0",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def configure_places(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the node's files are."""
    from multus.cni.shim import SOCKET

    usual = os.environ.get("MULTUS_SOCKET") or os.fsdecode(SOCKET)
    parser.add_argument("-c", "--conf", default="", metavar="FILE", help="Multus' configuration")
    parser.add_argument("--root", default="", metavar="FOLDER", help="the node's / is mounted here")
    for option, default, what in (
        ("--net-d", NET_D, "the runtime's configuration files"),
        ("--bin-dir", BIN_DIR, "the runtime's plugins"),
        ("--socket", usual, "the daemon's socket"),
    ):
        parser.add_argument(option, default=default, metavar="PATH", help=f"{what} (%(default)s)")


def places(arguments: argparse.Namespace) -> Paths:
    """Where the options say that the node's files are."""
    from multus.cli.overview import Paths

    return Paths(
        net_d=arguments.net_d,
        bin_dir=arguments.bin_dir,
        socket=arguments.socket,
        conf=arguments.conf,
        root=arguments.root.rstrip("/"),
    )


def _first(found: Overview) -> str:
    """What is waited for."""
    from multus.cli.findings import ERROR, UNCHECKED

    open_ones = [each for each in found.findings if each.severity in (ERROR, UNCHECKED)]
    return open_ones[0].reason


def run(arguments: argparse.Namespace) -> int:
    """Print one screen, or JSON (``multus.cli.overview.Overview.to_wire``)."""
    from multus.cli import glance
    from multus.cli.findings import OK, Finding
    from multus.cli.overview import look

    paths = places(arguments)
    until = time.monotonic() + arguments.wait
    telling.doing("looking at the node")
    found = look(paths)
    while found.status and time.monotonic() < until:
        telling.doing(f"waiting: {_first(found)}")
        time.sleep(min(_PAUSE, max(0.0, until - time.monotonic())))
        found = look(paths)
    if arguments.json:
        screen.as_json(found.to_wire())
    else:
        shown = screen.Screen.open()
        for line in glance.lines(found, shown.width, plain=shown.is_ascii):
            shown.line(*line)
        for finding in found.findings or [Finding(OK, "node", "nothing is wrong")]:
            shown.finding(finding)
    return found.status
