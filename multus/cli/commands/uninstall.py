"""Undo 'multus install', restore the previous network.

Replaced files are restored and new ones removed, the runtime's configuration
first. While containers are attached by Multus the program stays, because their
DEL needs it: delete them, then run this command again.

Examples:
  multus uninstall
  multus uninstall --force          even while containers are attached
"""

from __future__ import annotations

import argparse

from multus.cli import screen
from multus.cli.node import NET_D

STATUSES = {
    0: "nothing is left, or only what attached containers need",
    1: "a file cannot be restored or removed",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--net-d", default=NET_D, metavar="FOLDER", help="(%(default)s)")
    parser.add_argument(
        "--cni-dir", default="/var/lib/cni/multus", metavar="FOLDER", help="(%(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="even if containers are attached")


def run(arguments: argparse.Namespace) -> int:
    """Uninstall, and print what was done."""
    from multus.cli.commands.install.uninstalling import uninstall

    for done in uninstall(arguments.net_d, arguments.cni_dir, force=arguments.force):
        screen.say(done)
    return 0
