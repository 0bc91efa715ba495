"""Print the manual page.

Examples:
  multus man | man -l -
  multus man > /usr/local/share/man/man1/multus.1
"""

from __future__ import annotations

import argparse

from multus.cli import screen


def configure(parser: argparse.ArgumentParser) -> None:
    """Has no options."""


def run(arguments: argparse.Namespace) -> int:
    """Print it as troff."""
    from multus.cli import parser
    from multus.cli.manual import page

    screen.document(page(parser()))
    return 0
