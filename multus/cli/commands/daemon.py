"""Run the node daemon in the foreground.

SIGTERM: finish the calls that run, refuse the others, end.  SIGHUP: read the settings again, look
for plugins again.  MULTUS_SOCKET overrides the socket's path.

Examples:
  multus daemon
  multus daemon --config /etc/cni/multus/daemon.json
"""

from __future__ import annotations

import argparse

from multus.api.errors import MissingPlugin


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        default="/etc/cni/multus/daemon.json",
        help="the daemon's settings; there need not be any (%(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    try:
        from multus.daemon import main
    except ModuleNotFoundError as error:
        raise MissingPlugin(
            f"the daemon needs {error.name}, which is not installed",
            fix="pip install 'multus[daemon]'",
        ) from error
    main.run(arguments.config)
    return 0
