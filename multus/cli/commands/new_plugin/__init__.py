"""Write a new plugin: an installable distribution whose tests pass at once.

Examples:
  multus new-plugin source inventory
  multus new-plugin observer audit --into ~/src
  cd multus-source-inventory && pip install -e '.[test]' && pytest

The distribution has tests, a tox.ini, a workflow for GitHub that calls tox,
and a license, Apache-2.0, whose holders are the plugin's authors.

A source says which networks a container gets; an invoker attaches them; a
merger answers the runtime; an observer is told what happens.
"""

from __future__ import annotations

import argparse
import os

from multus.cli import screen
from multus.cli.commands.new_plugin.writing import KINDS, write


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS, help="what the plugin does")
    parser.add_argument("name", help="lower-case letters, digits and '-', such as inventory")
    parser.add_argument("--into", metavar="FOLDER", default=".", help="where to (default: here)")


def run(arguments: argparse.Namespace) -> int:
    """Write the distribution and say what to do next."""
    folder = write(arguments.kind, arguments.name, os.path.expanduser(arguments.into))
    screen.say(f"wrote {folder}:")
    for parent, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            screen.say(f"  {os.path.relpath(os.path.join(parent, name), folder)}")
    steps = ("", "next:", f"  cd {folder}", "  pip install -e '.[test]'", "  pytest")
    for line in (*steps, "  multus plugins"):
        screen.say(line)
    return 0
