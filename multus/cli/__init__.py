"""The command line: one command a file of this folder.

A command's module has a docstring, whose first line is its summary, ``configure(parser)``, and
``run(arguments)``, which returns the exit status.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

from multus import __version__
from multus.errors import CNIError

_EPILOG = """\
As a CNI plugin (CNI_COMMAND is set) it reads a network configuration on stdin instead.
"""


def commands() -> dict[str, ModuleType]:
    """All commands by name, sorted."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names if name[0] != "_"]
    return {module.__name__.rpartition(".")[2].replace("_", "-"): module for module in modules}


def parser() -> argparse.ArgumentParser:
    """The whole command line's parser."""
    top = argparse.ArgumentParser(
        prog="multus",
        description="Attach containers to many networks.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"multus {__version__}")
    chosen = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in commands().items():
        summary, _, rest = (module.__doc__ or "").partition("\n")
        command = chosen.add_parser(
            name,
            help=summary.rstrip("."),
            description=summary,
            epilog=rest.strip() or None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.configure(command)
        command.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    arguments = parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except CNIError as error:
        print(f"multus {arguments.command}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130
    return status
