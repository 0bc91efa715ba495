"""Show and free the addresses of ranges that are unique in the cluster.

'status' shows how full each range is, 'list' who has which address, and what
is odd. 'release' frees addresses, of pods that run too with --force.
'reconcile' frees the addresses of pods that do not exist: of those that are
gone in two looks, --grace seconds apart.

Examples:
  multus ipam status
  multus ipam list --suspicious
  multus ipam list --json | jq '.[].allocations[].address'
  multus ipam release 10.44.0.7
  multus ipam reconcile --dry-run

The API server is that of the node's configuration, or of --kubeconfig. Plugins
list their ranges: multus-ipam-whereabouts, for instance.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from multus.cli import numbers, screen
from multus.cli.node import NET_D

if TYPE_CHECKING:
    from multus.cli.commands.ipam.ranges import Cluster
    from multus.healing.addresses import Suspect

ACTIONS = ("status", "list", "release", "reconcile")

STATUSES = {
    0: "it was done; for 'status', no range is full; for 'reconcile', nothing is left to free",
    1: "something could not be read, or was not freed, or a range is full",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("addresses", nargs="*", default=(), metavar="ADDRESS", help="for release")
    parser.add_argument("-c", "--conf", default="", metavar="FILE", help="Multus' configuration")
    parser.add_argument("--net-d", default=NET_D, metavar="PATH", help="where it is (%(default)s)")
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help="the API server")
    parser.add_argument("--suspicious", action="store_true", help="list only what is odd")
    parser.add_argument("--dry-run", action="store_true", help="change nothing")
    parser.add_argument("--force", action="store_true", help="release what a pod still has")
    parser.add_argument(
        "--grace",
        type=numbers.seconds,
        default=10.0,
        metavar="SECONDS",
        help="between looks (%(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action; JSON is a list of ranges, or of what was freed."""
    from multus.api.errors import InvalidConfig
    from multus.cli.commands.ipam.ranges import Cluster

    if arguments.action == "release" and not arguments.addresses:
        raise InvalidConfig("no address is named", fix="name those to release")
    if arguments.action != "release" and arguments.addresses:
        raise InvalidConfig(
            f"addresses are named, and {arguments.action!r} is of all", fix="remove them"
        )
    with ExitStack() as stack:
        cluster = Cluster.open(arguments.conf, arguments.net_d, arguments.kubeconfig, stack)
        action = _show if arguments.action in ("status", "list") else _free
        status = action(cluster, arguments)
        for each in cluster.problems:
            screen.complain(f"not known whether addresses are in use: {each}")
        return 1 if cluster.problems else status


def _show(cluster: Cluster, arguments: argparse.Namespace) -> int:
    from multus.cli.commands.ipam import shown

    ranges = cluster.ranges()
    reasons = {id(each.allocation): each.reason for each in cluster.suspects(ranges)}
    if arguments.json:
        screen.as_json([shown.to_wire(each, reasons) for each in ranges])
    elif arguments.action == "status":
        shown.status(ranges, reasons)
    else:
        shown.listed(ranges, reasons, only=arguments.suspicious)
    full = any(0 < each.size <= each.used for each in ranges)
    return 1 if arguments.action == "status" and full else 0


def _free(cluster: Cluster, arguments: argparse.Namespace) -> int:
    from multus.cli.commands.ipam import shown
    from multus.healing.addresses import free

    named = arguments.action == "release"
    if named:
        chosen = cluster.named(arguments.addresses, force=arguments.force)
    else:
        chosen = _twice(cluster, 0.0 if arguments.dry_run else arguments.grace)
    force = named and arguments.force
    done = [] if arguments.dry_run else list(free(chosen, cluster.client, force=force))
    if arguments.json:
        screen.as_json(shown.freed_wire(chosen, done))
    else:
        shown.freed(chosen, done, dry_run=arguments.dry_run)
    # Of what reconciling finds, some may be in use by now; what is named is to be freed.
    return 1 if any(each.problem or (named and each.kept) for each in done) else 0


def _twice(cluster: Cluster, grace: float) -> list[Suspect]:
    """The suspects of two looks, *grace* seconds apart."""
    first = cluster.suspects(cluster.ranges())
    if not first or not grace:
        return first
    time.sleep(grace)
    before = {each.key for each in first}
    return [each for each in cluster.suspects(cluster.ranges()) if each.key in before]
