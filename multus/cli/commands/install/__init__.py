"""Make Multus this node's network, with the network that it has now as the default.

The program is put among the runtime's plugins, 00-multus.conflist before the runtime's other
configurations, and, in a pod, a kubeconfig made from its service account beside it. Everything is
checked before it is written, written whole or not at all, and kept track of, so that 'multus
uninstall' restores what was there. Installing again changes only what has to change.

Examples:
  multus install --dry-run                    show the configuration, write nothing
  multus install                              on a node with Python
  multus install --kubeconfig /etc/kubernetes/kubelet.conf
  multus install --shim-only --wait 300       in the DaemonSet's init container
  multus install --shim-only --watch          in the DaemonSet: keeps the token fresh
  multus install --conf multus.conflist       one's own configuration
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Callable

from multus.cli import screen
from multus.cli.commands.install.account import SERVICE_ACCOUNT, Account
from multus.cli.node import BIN_DIR, NET_D


def configure(parser: argparse.ArgumentParser) -> None:
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("-c", "--conf", default="", metavar="FILE", help="install this one")
    chosen.add_argument(
        "--primary", default="", metavar="FILE", help="the default network; else the first there is"
    )
    parser.add_argument(
        "--kubeconfig", default="", metavar="FILE", help="one that the node has already"
    )
    parser.add_argument(
        "--service-account",
        default=SERVICE_ACCOUNT,
        metavar="FOLDER",
        help="what a kubeconfig is made from, in a pod",
    )
    parser.add_argument("--net-d", default=NET_D, metavar="FOLDER", help="(%(default)s)")
    parser.add_argument("--bin-dir", default=BIN_DIR, metavar="FOLDER", help="(%(default)s)")
    parser.add_argument(
        "--program", default="", metavar="FILE", help="what the runtime is to start"
    )
    parser.add_argument(
        "--shim-only", action="store_true", help="a daemon serves every call; no Python is needed"
    )
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="for a default network to appear"
    )
    parser.add_argument("--watch", action="store_true", help="go on, and keep everything in place")
    parser.add_argument("--force", action="store_true", help="give up changes made by hand")
    parser.add_argument("--dry-run", action="store_true", help="show the configuration only")


def run(arguments: argparse.Namespace) -> int:
    """Install; status 0 when everything is in place."""
    from multus.cli.commands.install.install import Wanted, configuration_for, install, watch
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
        program=arguments.program,
        shim_only=arguments.shim_only,
        force=arguments.force,
    )
    text, primary = configuration_for(wanted, installed, arguments.wait)
    if arguments.dry_run:
        screen.document(text.decode())
        return 0
    install(wanted, text, primary, _tell)
    _tell(f"installed: {wanted.conf_path}{f', default network {primary}' if primary else ''}")
    if arguments.watch:
        watch(wanted, installed, _tell, _until_told())
    return 0


def _until_told() -> Callable[[float], bool]:
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # What is installed stays: pods of a node without it would silently lose their networks.
        signal.signal(number, lambda *_: told.set())
    return told.wait


def _tell(line: str) -> None:
    screen.complain(f"multus install: {line}")
