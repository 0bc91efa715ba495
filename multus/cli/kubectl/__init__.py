"""``kubectl multus``: the nodes of a cluster, side by side, from an operator's machine.

kubectl starts the program ``kubectl-multus`` for it.  A command is a module of this package with a
docstring, ``configure(parser)`` and ``run(arguments)``, as those of ``multus.cli.commands`` are.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from multus import __version__
from multus.cli import Parser, add_command, guarded, screen, telling, unknown
from multus.cli.kubectl import access, nodes

#: In the order of the help.
COMMANDS = ("status", "attachments", "explain", "doctor")

_EPILOG = """\
Each node is asked through the pod of Multus on it, many at a time. A node that
does not answer says so, and the others are shown. What follows "--" is passed
to the node's command.

  kubectl multus COMMAND --help        show options and examples of a command
"""


def program() -> NoReturn:
    """The entry point of ``kubectl-multus``."""
    screen.claim()
    telling.begin("kubectl multus")
    status = main(sys.argv[1:])
    telling.end()
    sys.exit(status)


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit status.  Prints errors to stderr and raises none."""
    asked = next((word for word in argv if word in COMMANDS), "")
    who = f"kubectl multus {asked}".rstrip()
    return guarded(who, lambda: _run(argv))


def _run(argv: Sequence[str]) -> int:
    if not argv:
        parser().print_help()
        return 0
    if not argv[0].startswith("-") and argv[0] not in COMMANDS:
        said = unknown(argv[0], COMMANDS, "kubectl multus --help")
        screen.complain(f"kubectl multus: {said}")
        return 2
    words, passed_on = list(argv), []
    if "--" in words:
        at = words.index("--")
        words, passed_on = words[:at], words[at + 1 :]
    try:
        arguments = parser().parse_args(words)
    except SystemExit as ended:  # --help, --version, or a usage error
        return int(ended.code or 0)
    arguments.passed_on = passed_on
    status: int = arguments.run(arguments)
    return status


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; kubectl's flags may stand before and after the command."""
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group("cluster")
    access.configure(group)
    nodes.configure(group)
    top = Parser(
        prog="kubectl multus",
        description="Look at Multus on all nodes of a cluster.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    top.add_argument("--version", action="version", version=f"multus {__version__}")
    chosen = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        add_command(chosen, name, importlib.import_module(f"{__name__}.{name}"), [common])
    return top
