"""Undo 'multus install', restore the previous network.

Replaced files are restored and new ones removed, the runtime's configuration
first. While containers are attached by Multus the program stays, because their
DEL needs it: delete them, then run this command again.

With --wait-for, nothing is undone here: it waits until the pods of a DaemonSet,
each of which runs this command on its node, are all ready.

Examples:
  multus uninstall
  multus uninstall --force          even while containers are attached
"""

from __future__ import annotations

import argparse

from multus.cli import numbers, screen, telling
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
    parser.add_argument(
        "--wait-for",
        default="",
        metavar="NAMESPACE/DAEMONSET",
        help="in a pod: wait until this one has uninstalled every node",
    )
    parser.add_argument(
        "--seconds",
        type=numbers.seconds,
        default=240.0,
        help="how long --wait-for waits (%(default)g)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Uninstall, and print what was done."""
    from multus.cli.commands.install.uninstalling import uninstall

    if arguments.wait_for:
        return _wait(arguments.wait_for, arguments.seconds)
    telling.doing("removing")
    for done in uninstall(arguments.net_d, arguments.cni_dir, force=arguments.force):
        screen.tell(done)
    return 0


def _wait(daemonset: str, seconds: float) -> int:
    from multus.cli import rollout
    from multus.kube.client import KubeClient
    from multus.kube.kubeconfig import in_cluster

    wanted = rollout.named(daemonset)
    client = KubeClient(in_cluster())
    try:
        progress = rollout.wait(client, wanted, seconds, screen.complain)
    finally:
        client.close()
    if progress.nodes:
        screen.say(f"uninstalled from {progress.nodes} node(s)")
    else:
        screen.say(f"nothing was uninstalled: DaemonSet {daemonset} fits no node")
    return 0
