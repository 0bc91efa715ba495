"""Install Multus on this node; its network becomes the default.

Installs the program in the runtime's plugin folder, 00-multus.conflist before
the runtime's other configurations, and, in a pod, a kubeconfig made from the
pod's service account. Everything is checked first and written atomically, and
recorded in a manifest, so that 'multus uninstall' can restore the previous
state. Installing again changes only what differs.

An own configuration, installed with --conf, stays until another one is given.
Before it is replaced, like any manual change, a copy is kept.

The settings of another Multus that the runtime uses, the Go Multus too, are
carried over; a setting that cannot be is named, and nothing is installed.

Examples:
  multus install --dry-run                    only show the configuration
  multus install                              on a node that has Python
  multus install --kubeconfig /etc/kubernetes/kubelet.conf
  multus install --shim-only --wait 300       in the DaemonSet's init container
  multus install --shim-only --watch          in the DaemonSet: renews the token
  multus install --conf multus.conflist       your own configuration
  multus install --settings keys.json         more keys for what it writes
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Callable

from multus.cli import numbers, screen, telling
from multus.cli.commands.install.account import SERVICE_ACCOUNT, Account
from multus.cli.node import BIN_DIR, DAEMON_SETTINGS, NET_D

STATUSES = {
    0: "it is installed, or with --dry-run could be",
    1: "it is not installed; standard error says why",
}


def configure(parser: argparse.ArgumentParser) -> None:
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("-c", "--conf", default="", metavar="FILE", help="install this file")
    chosen.add_argument(
        "--primary", default="", metavar="FILE", help="the default network; else the first found"
    )
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help="use this existing file")
    parser.add_argument(
        "--service-account",
        default=SERVICE_ACCOUNT,
        metavar="FOLDER",
        help="the service account for a new kubeconfig, in a pod",
    )
    parser.add_argument(
        "--settings", default="", metavar="FILE", help="keys for the configuration, in JSON"
    )
    parser.add_argument(
        "--daemon-settings", default=DAEMON_SETTINGS, metavar="FILE", help="(%(default)s)"
    )
    parser.add_argument("--net-d", default=NET_D, metavar="FOLDER", help="(%(default)s)")
    parser.add_argument("--bin-dir", default=BIN_DIR, metavar="FOLDER", help="(%(default)s)")
    parser.add_argument(
        "--program", default="", metavar="FILE", help="the program that the runtime starts"
    )
    parser.add_argument(
        "--shim-only", action="store_true", help="every call goes to the daemon; no Python needed"
    )
    parser.add_argument(
        "--wait",
        type=numbers.seconds,
        default=0.0,
        metavar="SECONDS",
        help="wait for a default network",
    )
    parser.add_argument("--watch", action="store_true", help="keep running, restore changed files")
    parser.add_argument(
        "--force", action="store_true", help="replace manual changes; accept missing plugins"
    )
    parser.add_argument("--dry-run", action="store_true", help="only show the configuration")


def run(arguments: argparse.Namespace) -> int:
    """Install; status 0 on success."""
    from multus.cli.commands.install.configuration import require_first
    from multus.cli.commands.install.install import install, watch
    from multus.cli.commands.install.planning import Wanted, plan_for
    from multus.registry.index import discover
    from multus.registry.loading import load

    installed = load(discover())
    wanted = Wanted(
        net_d=os.path.abspath(arguments.net_d),
        bin_dir=os.path.abspath(arguments.bin_dir),
        conf=arguments.conf,
        primary=os.path.abspath(arguments.primary) if arguments.primary else "",
        kubeconfig=os.path.abspath(arguments.kubeconfig) if arguments.kubeconfig else "",
        account=Account.of_pod(os.environ, arguments.service_account),
        settings=arguments.settings,
        daemon_settings=arguments.daemon_settings,
        program=arguments.program,
        shim_only=arguments.shim_only,
        force=arguments.force,
    )
    telling.doing(
        f"waiting for a default network in {wanted.net_d}" if arguments.wait else "checking"
    )
    require_first(wanted.conf_path)
    plan = plan_for(wanted, installed, arguments.wait)
    for line in plan.warnings:
        _tell(f"warning: {line}")
    if arguments.dry_run:
        for line in plan.notes:
            _tell(line)
        screen.document(plan.text.decode())
        return 0
    telling.doing("writing")
    install(wanted, plan, _tell)
    network = f", default network {plan.primary}" if plan.primary else ""
    _tell(f"installed: {wanted.conf_path}{network}")
    if arguments.watch:
        telling.end()
        watch(wanted, installed, _tell, _until_told())
    return 0


def _until_told() -> Callable[[float], bool]:
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Keep the installation: without it, new pods would silently get fewer networks.
        signal.signal(number, lambda *_: told.set())
    return told.wait


def _tell(line: str) -> None:
    screen.complain(f"multus install: {line}")
