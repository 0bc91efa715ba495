"""The command line: each command is a module or package of ``multus.cli.commands``.

A command's module has a docstring, whose first line is its summary, ``configure(parser)``,
``run(arguments)``, which returns the exit status, and ``STATUSES`` (``multus.cli.statuses``).  It
prints through ``multus.cli.screen``.  Only the module of the requested command is imported;
``--help``, completion and the man page import all of them.  A module with ``PASSES_ON = True`` gets
the words after ``--`` in ``arguments.passed_on``; argparse does not parse them.
"""

from __future__ import annotations

import argparse
import importlib
import io
import pkgutil
import sys
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any, NoReturn

from multus import __version__
from multus.api.errors import CNIError
from multus.cli import commands, screen, statuses
from multus.log._printable import printable

_EPILOG = """\
If CNI_COMMAND is set, multus is a CNI plugin: its configuration is on stdin.

Start here:
  multus demo                          attach three networks, then remove them
  multus validate -f 00-multus.conf    list every problem with line, key and fix
  multus COMMAND --help                show options and examples of a command
"""


def names() -> list[str]:
    """All commands, sorted."""
    found = (each.name for each in pkgutil.iter_modules(commands.__path__))
    return sorted(name.replace("_", "-") for name in found)


def unknown(word: str, known: Sequence[str], listing: str) -> str:
    """The error for *word*, which is none of the *known* commands: it suggests the nearest one.

    *listing* is the command that lists all.
    """
    import difflib

    near = difflib.get_close_matches(word.lower(), known, n=1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no command {word!r}: {guess}{listing!r} lists all"


def parser(only: Iterable[str] | None = None) -> argparse.ArgumentParser:
    """The parser of the command line, with the commands in *only*, or with all."""
    top = Parser(
        prog="multus",
        description="Attach containers to many networks.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"multus {__version__}")
    chosen = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in names() if only is None else only:
        add_command(chosen, name, _module(name))
    return top


def add_command(
    chosen: argparse._SubParsersAction[Parser],
    name: str,
    module: ModuleType,
    parents: Sequence[Parser] = (),
) -> None:
    """Add the parser of a command, which its *module* describes; *parents* have more options."""
    summary, _, rest = (module.__doc__ or "").partition("\n")
    means = statuses.of(module)
    command = chosen.add_parser(
        name,
        help=summary.rstrip("."),
        description=summary,
        epilog=f"{rest.strip()}\n\n{statuses.shown(means)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=parents,
    )
    module.configure(command)
    command.set_defaults(run=module.run, statuses=means)


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit status.  Prints errors to stderr and raises none."""
    asked = argv[0] if argv and argv[0] in names() else ""
    return guarded(f"multus {asked}" if asked else "multus", lambda: _run(argv, asked))


def guarded(who: str, command: Callable[[], int]) -> int:
    """The exit status of *command*; its errors are printed to stderr, after the words *who*."""
    if sys.stdout is None:
        screen.complain("multus: standard output is closed: open it, or send it to /dev/null")
        return 1
    _print_what_the_encoding_lacks()
    try:
        status = command()
        screen.flush()
    except KeyboardInterrupt:
        status = 130
    except Exception as error:  # noqa: BLE001  its text may come from outside
        status = _failed(who, error)
    for stream in (screen.out(), sys.stdout, sys.stderr):
        if stream is not None:
            screen.give_up_if_broken(stream)
    return status


def _run(argv: Sequence[str], asked: str) -> int:
    if not argv:
        parser().print_help()
        return 0
    if not asked and not argv[0].startswith("-"):
        screen.complain(f"multus: {unknown(argv[0], names(), 'multus help')}")
        return 2
    words, passed_on = list(argv), []
    if asked and "--" in words and getattr(_module(asked), "PASSES_ON", False):
        at = words.index("--")
        words, passed_on = words[:at], words[at + 1 :]
    try:
        top = parser([asked] if asked else None)
        arguments, unused = top.parse_known_args(words)
        if unused:
            from multus.cli.manual import subcommands

            # By the command, whose options are shown then.
            of = subcommands(top)[asked] if asked else top
            of.error(f"unrecognized arguments: {' '.join(unused)}")
    except SystemExit as ended:  # --help, --version, or a usage error
        return int(ended.code or 0)
    arguments.passed_on = passed_on
    status: int = arguments.run(arguments)
    return status


def _failed(who: str, error: Exception) -> int:
    """Print the error that ended a command; returns the exit status."""
    if isinstance(error, CNIError):
        screen.complain(f"{who}: {error}")
    elif isinstance(error, ModuleNotFoundError) and _is_foreign(error.name):
        screen.complain(f"{who}: {error.name} is not installed: pip install 'multus[cli]'")
    elif isinstance(error, OSError):
        if not isinstance(error, BrokenPipeError):  # the reader closed the pipe on purpose
            where = f"{error.filename}: " if error.filename is not None else ""
            fix = ": run it as root" if isinstance(error, PermissionError) else ""
            screen.complain(f"{who}: {where}{error.strerror or error}{fix}")
    else:
        from multus.log import traceback_of

        for line in traceback_of(error).splitlines():
            screen.complain(line)
        screen.complain(f"{who}: internal error: {error}: please report it")
    return 1


def _is_foreign(module: str | None) -> bool:
    return module is not None and not module.startswith("multus")


def _print_what_the_encoding_lacks() -> None:
    """Write characters that a stream cannot encode as escapes, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class Parser(argparse.ArgumentParser):
    """Prints through the screen, and prints usage errors in printable characters.

    Options of a command may stand anywhere, also between the words that it is about.
    """

    _is_parsing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As `argparse.ArgumentParser` has it, which this is called by."""
        if self._is_parsing or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._is_parsing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_parsing = False

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stderr and file is not None:
            super()._print_message(message, file)
        elif message:
            screen.write(message)

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{commands.__name__}.{name.replace('-', '_')}")
