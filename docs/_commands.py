"""The page of the commands, from the command line's parsers: one section for each command."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from multus.cli import manual, statuses

_HEAD = """\
# Commands

This page has every command of the program `multus`, with its options and examples. `multus COMMAND
--help` prints the same in a terminal, and `multus man` as a manual page. At the end are the
commands of [`kubectl multus`](kubectl.md), which asks all nodes of a cluster, and of `multus-shim`.

When the variable `CNI_COMMAND` is set, the program is a CNI plugin: it reads its configuration from
standard input, and no arguments. Container runtimes start it like that.

| command | |
|---|---|
"""

_SHIM = """\
## multus-shim

```{index} ! multus-shim
```

Ask the [daemon](daemon.md) how it is. On nodes, the runtime starts this
program in place of `multus`.

`multus-shim health`
: Prints `ok`, or why the daemon needs a restart.

`multus-shim ready`
: Prints `ok`, or why the daemon cannot serve calls.

`multus-shim workers`
: Prints each worker's state and step, with its time.

`multus-shim metrics`
: Prints all [metrics](daemon.md#metrics).

`multus-shim reload`
: Makes the daemon read its settings and plugins again.
"""


def page(*parsers: argparse.ArgumentParser) -> str:
    """The page of these programs, in MyST Markdown; the first one's headings are the bare names."""
    found = [
        (f"{parser.prog} {name}".removeprefix(f"{parsers[0].prog} "), f"{parser.prog} {name}", each)
        for parser in parsers
        for name, each in manual.subcommands(parser).items()
    ]
    rows = [
        f"| [`{called}`](#{heading.replace(' ', '-')}) | {_prose(command.description or '')} |"
        for heading, called, command in found
    ]
    parts = [_HEAD + "\n".join(rows) + "\n"]
    parts += ["\n".join(_section(*each)) for each in found]
    parts += [_SHIM, "\n".join(_tail())]
    return "\n".join(parts)


def _section(heading: str, called: str, command: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## {heading}\n"
    # A search for the command's name finds this place first.
    entries = dict.fromkeys((heading, called))
    yield f"```{{index}} {', '.join(f'! {entry}' for entry in entries)}\n```\n"
    yield f"{_prose(command.description or '')}\n"
    yield f"```text\n{_synopsis(called, command)}\n```\n"
    formatter = command._get_formatter()
    for action in _shown(command):
        yield f"`{manual.called(action)}`"
        text = _defaulted(formatter._expand_help(action)) if action.help else "one of these"
        yield f": {_prose(text)}\n"
    yield from _rest(command.epilog or "")
    yield "| exit status | |\n|---|---|"
    for status, meaning in command.get_default("statuses").items():
        yield f"| {status} | {_prose(meaning)} |"
    yield ""


def _defaulted(text: str) -> str:
    """The help of an option: its last parentheses have the default."""
    text = re.sub(r"^\((?:default: )?([^()]+)\)$", r"default: \1", text)
    return re.sub(r" \((?:default: )?([^()]+)\)$", r"; default: \1", text)


def _shown(command: argparse.ArgumentParser) -> list[argparse.Action]:
    return [
        action
        for action in command._actions
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
    ]


def _synopsis(called: str, command: argparse.ArgumentParser) -> str:
    words = [called]
    if any(action.option_strings for action in _shown(command)):
        words.append("[OPTIONS]")
    for action in _shown(command):
        if not action.option_strings:
            many = f"{manual.called(action)} ..." if action.nargs == "*" else manual.called(action)
            words.append(f"[{many}]" if action.nargs in ("*", "?") else many)
    return " ".join(words)


def _rest(text: str) -> Iterator[str]:
    """The paragraphs and examples after the options."""
    for part in re.split(r"\n\s*\n", text.strip()):
        heading, _, examples = part.partition("\n")
        if heading == "Examples:":
            lines = (line.removeprefix("  ") for line in examples.splitlines())
            yield "```sh\n" + "\n".join(map(_example, lines)) + "\n```\n"
        elif part and heading != statuses.TITLE:
            yield f"{_prose(' '.join(part.split()))}\n"


def _example(line: str) -> str:
    """A command with its remark, which in the help is set apart by spaces alone."""
    return re.sub(r"^(.*?\S)(\s{3,})(\S.*)$", r"\1\2# \3", line)


def _prose(text: str) -> str:
    """A sentence of a help text: what is quoted, options and paths as code."""
    text = re.sub(r"(?<![\w`])'([\w-][^']*)'(?!\w)", r"`\1`", text)
    parts = re.split(r"(`[^`]+`)", text)
    for number in range(0, len(parts), 2):
        part = re.sub(r"(?<![\w-])(--?[a-z][a-z-]*(?: [A-Z]+\b)?)", r"`\1`", parts[number])
        part = re.sub(r"(?<![\w/])(/[a-z]\w*(?:[/.][\w.-]*\w)+)", r"`\1`", part)
        parts[number] = part.replace("<", "&lt;").replace("*", "\\*")
    return "".join(parts)


def _tail() -> Iterator[str]:
    for title, entries in (("Files", manual.FILES), ("Variables", manual.ENVIRONMENT)):
        yield f"## {title}\n"
        for name, text in entries:
            yield f"`{name}`\n: {_prose(text)}\n"
