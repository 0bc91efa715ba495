"""Show all commands, or the help of one command.

Examples:
  multus help
  multus help explain
"""

from __future__ import annotations

import argparse

from multus.cli import screen

STATUSES = {0: "the help was shown", 2: "there is no such command"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("about", nargs="?", default="", metavar="COMMAND", help="one command")


def run(arguments: argparse.Namespace) -> int:
    """Print the output of ``--help``."""
    from multus.cli import names, parser, unknown
    from multus.cli.manual import subcommands

    whole, about = parser(), arguments.about
    if about and about not in names():
        screen.complain(f"multus help: {unknown(about, names(), 'multus help')}")
        return 2
    (subcommands(whole)[about] if about else whole).print_help()
    return 0
