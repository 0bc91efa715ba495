"""What commands print for people: colours on a terminal, plain text everywhere else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from multus.errors import MissingPlugin
from multus.ops.findings import ERROR, NOTE, OK, WARNING, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

#: Where nobody looks at a terminal, lines are not broken to fit one.
_PLAIN_WIDTH = 160
_STYLES = {ERROR: "bold red", WARNING: "yellow", NOTE: "cyan", OK: "green"}
_MARKS = {ERROR: "✗", WARNING: "!", NOTE: "·", OK: "✓"}
_ASCII_MARKS = {ERROR: "x", WARNING: "!", NOTE: "-", OK: "+"}


def screen(file: Any = None) -> Console:
    """The console on *file*, standard output unless given; raises ``MissingPlugin``."""
    try:
        from rich.console import Console
    except ImportError as error:
        raise MissingPlugin(
            "what is meant for people needs rich: install multus[cli], or use --json"
        ) from error
    file = file or sys.stdout
    width = None if file.isatty() else _PLAIN_WIDTH
    return Console(file=file, width=width, highlight=False, soft_wrap=False)


def heading(console: Console, text: str) -> None:
    """A line that stands out, with an empty one before it."""
    console.print()
    console.print(text, style="bold", markup=False)


def rows(console: Console, titles: Sequence[str], cells: Iterable[Sequence[str]]) -> None:
    """A table whose columns are as wide as what is in them; long cells go on below."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.print(line.rstrip(), markup=False, soft_wrap=True)


def finding(console: Console, each: Finding) -> None:
    """A finding: where, what, why, and what to do."""
    from rich.text import Text

    marks = _MARKS if console.encoding.lower().startswith("utf") else _ASCII_MARKS
    line = Text()
    line.append(f"{marks[each.severity]} ", style=_STYLES[each.severity])
    if each.place is not None:
        line.append(f"{each.place}: ", style="bold")
    line.append(f"{each.subject}: {each.reason}")
    if each.code:
        line.append(f" [code {each.code}]", style="dim")
    console.print(line, soft_wrap=True)
    if each.fix:
        console.print(Text(f"    {each.fix}", style="dim"), soft_wrap=True)


def shown_json(console: Console, value: Any) -> None:
    """A value as indented JSON, coloured where there are colours."""
    import json

    text = json.dumps(value, indent=2, ensure_ascii=False)
    if not console.is_terminal:
        console.print(text, markup=False, soft_wrap=True)
        return
    from rich.syntax import Syntax

    console.print(Syntax(text, "json", background_color="default", word_wrap=True))
