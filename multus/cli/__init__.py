"""The command line: one command a file of this folder.

A command's module has a docstring, whose first line is its summary, ``configure(parser)``, and
``run(arguments)``, which returns the exit status.  Only the module of the command that is asked for
is imported; all of them are for ``--help``, completion and the man page.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType

from multus import __version__
from multus.errors import CNIError

_EPILOG = """\
As a CNI plugin (CNI_COMMAND is set) it reads a network configuration on stdin instead.

Start here:
  multus demo                          three networks for a throw-away pod, shown and removed
  multus validate -f 00-multus.conf    every problem with its line, key and fix
  multus COMMAND --help                examples of each command
"""


def names() -> list[str]:
    """All commands, sorted."""
    found = (each.name for each in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def parser(only: Iterable[str] | None = None) -> argparse.ArgumentParser:
    """The command line's parser: of the commands named in *only*, or of all."""
    top = argparse.ArgumentParser(
        prog="multus",
        description="Attach containers to many networks.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"multus {__version__}")
    chosen = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in names() if only is None else only:
        module = _module(name)
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
    asked = argv[0] if argv else ""
    try:
        arguments = parser([asked] if asked in names() else None).parse_args(argv)
        status: int = arguments.run(arguments)
    except CNIError as error:
        print(f"multus {asked}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("multus"):
            raise
        print(
            f"multus {asked}: {error.name} is not installed: pip install 'multus[all]'",
            file=sys.stderr,
        )
        return 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
