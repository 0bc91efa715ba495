"""Generates the manual page from the command line's parser."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from multus import __version__
from multus.cli.statuses import TITLE

#: What the program reads and writes, each with what it is.
FILES = (
    ("/etc/cni/net.d", "The runtime's configurations; it loads the first, 00-multus.conflist."),
    ("/etc/cni/net.d/multus.d", "Files of 'multus install': kubeconfig, token, manifest."),
    ("/etc/cni/multus/net.d", "Network configurations that are looked up by name ('confDir')."),
    ("/etc/cni/multus/daemon.json", "The daemon's settings."),
    ("/opt/cni/bin", "Plugin binaries ('binDir')."),
    ("/var/lib/cni/multus", "Records of attachments ('cniDir')."),
    ("/var/lib/cni/multus.trace", "The trace of past requests (multus-observer-trace)."),
    ("/run/multus/multus.sock", "The daemon's socket."),
)
#: Variables that the program reads, each with its effect.
ENVIRONMENT = (
    ("CNI_COMMAND", "If set, the program acts as a CNI plugin and ignores its arguments."),
    ("MULTUS_SOCKET", "Overrides the path of the daemon's socket."),
)


def page(parser: argparse.ArgumentParser) -> str:
    """The manual page in troff's man macros."""
    return "\n".join([*_head(parser), *_commands(parser), *_foot(parser)]) + "\n"


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the subcommands, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def called(action: argparse.Action) -> str:
    """An option with its value, or an argument, as it is written on a command line."""
    names = ", ".join(action.option_strings)
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices and not isinstance(action.metavar, str):
        value = "|".join(str(choice) for choice in action.choices)
    if not names:
        return value
    return names if action.nargs == 0 else f"{names} {value}"


def _head(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f'.TH MULTUS 1 "" "multus {__version__}" "Multus"'
    yield from (".SH NAME", r"multus \- attach containers to many networks")
    yield from (".SH SYNOPSIS", ".B multus", ".I COMMAND", "[options]")
    yield ".SH DESCRIPTION"
    yield _escaped(parser.description or "")
    yield from _verbatim(parser.epilog or "")


def _commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield ".SH COMMANDS"
    for name, command in subcommands(parser).items():
        yield f'.SS "multus {name}"'
        yield _escaped(command.description or "")
        yield from _options(command)
        yield from _epilog(command.epilog or "")


def _options(command: argparse.ArgumentParser) -> Iterator[str]:
    formatter = command._get_formatter()
    for action in command._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
            continue
        yield ".TP"
        yield rf"\fB{_escaped(called(action))}\fR"
        yield _escaped(formatter._expand_help(action) if action.help else "")


def _epilog(text: str) -> Iterator[str]:
    """Paragraphs and examples, unchanged."""
    for part in re.split(r"\n\s*\n", text.strip()):
        if part.startswith("Examples:"):
            yield ".PP"
            yield "Examples:"
            yield from _verbatim(part.partition("\n")[2])
        elif part.startswith(TITLE):
            continue  # the whole page has a section of it
        elif part:
            yield ".PP"
            yield _escaped(" ".join(part.split()))


def _verbatim(text: str) -> Iterator[str]:
    if text.strip():
        yield from (".PP", ".nf", *(_escaped(line) for line in text.strip("\n").split("\n")), ".fi")


def _foot(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield ".SH EXIT STATUS"
    for name, command in subcommands(parser).items():
        yield rf'.SS "multus {_escaped(name)}"'
        for status, meaning in command.get_default("statuses").items():
            yield from (".TP", str(status), _escaped(meaning))
    for title, entries in (("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT)):
        yield f".SH {title}"
        for name, text in entries:
            yield from (".TP", rf"\fI{_escaped(name)}\fR", _escaped(text))


def _escaped(line: str) -> str:
    """The text, escaped for troff."""
    line = line.replace("\\", r"\e").replace("-", r"\-").replace("…", "...")
    return rf"\&{line}" if line.startswith((".", "'")) else line
