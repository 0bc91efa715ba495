"""Print the shell completion script for multus.

Examples:
  multus completion bash > /etc/bash_completion.d/multus
  multus completion zsh > /usr/local/share/zsh/site-functions/_multus
  multus completion fish > ~/.config/fish/completions/multus.fish
"""

from __future__ import annotations

import argparse

from multus.cli import screen

_SHELLS = ("bash", "zsh", "fish")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=_SHELLS)


def run(arguments: argparse.Namespace) -> int:
    """Print the shell's script."""
    import shtab

    from multus.cli import parser

    whole = parser()
    _complete_paths(whole)
    screen.document(shtab.complete(whole, shell=arguments.shell) + "\n")
    return 0


def _complete_paths(parser: argparse.ArgumentParser) -> None:
    """Make options that take a path complete paths."""
    import shtab

    from multus.cli.manual import subcommands

    kinds = {"FILE": shtab.FILE, "PATH": shtab.FILE, "FOLDER": shtab.DIRECTORY}
    for command in (parser, *subcommands(parser).values()):
        for action in command._actions:
            if action.metavar in kinds:
                action.complete = kinds[str(action.metavar)]  # type: ignore[attr-defined]
