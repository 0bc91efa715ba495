"""Print the version of this program.

Examples:
  multus version
"""

from __future__ import annotations

import argparse

from multus import __version__
from multus.cli import screen


def configure(parser: argparse.ArgumentParser) -> None:
    """Has no options."""


def run(arguments: argparse.Namespace) -> int:
    """Print the same as ``multus --version``."""
    screen.say(f"multus {__version__}")
    return 0
