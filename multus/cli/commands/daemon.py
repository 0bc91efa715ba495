"""Run the node daemon in the foreground.

SIGTERM: finish running calls, refuse new ones, exit. SIGHUP: reload settings
and plugins. MULTUS_SOCKET overrides the socket's path.

Examples:
  multus daemon
  multus daemon --config /etc/cni/multus/daemon.json
"""

from __future__ import annotations

import argparse

from multus.api.errors import MissingPlugin
from multus.cli import telling

STATUSES = {0: "ended by SIGTERM", 1: "it could not start; standard error says why"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        default="/etc/cni/multus/daemon.json",
        help="the daemon's settings; the file is optional (%(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    try:
        from multus.daemon import main
    except ModuleNotFoundError as error:
        raise MissingPlugin(
            f"the daemon needs {error.name}, which is not installed",
            fix="pip install 'multus[daemon]'",
        ) from error
    telling.end()
    main.run(arguments.config)
    return 0
