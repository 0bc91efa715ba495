"""Show all commands, or the help of one command.

Examples:
  multus help
  multus help explain
"""

from __future__ import annotations

import argparse

from multus.api.errors import InvalidConfig


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("about", nargs="?", default="", metavar="COMMAND", help="one command")


def run(arguments: argparse.Namespace) -> int:
    """Print the output of ``--help``."""
    from multus.cli import names, parser
    from multus.cli.manual import subcommands

    whole, about = parser(), arguments.about
    if about and about not in names():
        raise InvalidConfig(
            f"there is no command {about!r}",
            fix="'multus help' lists them",
        )
    (subcommands(whole)[about] if about else whole).print_help()
    return 0
