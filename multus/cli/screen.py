"""Everything that commands print: text for people made printable, text for programs exact.

Commands write nothing themselves: the linter refuses ``print``, and a test refuses ``sys.stdout``.
So no name, key or error text from outside reaches a terminal as it is.  Text for people passes
``printable`` part by part: a line end or an escape sequence in a name is shown as its escape, and
rich interprets no markup in it.

In the program, standard output is kept for commands alone (``claim``): what a plugin or its child
prints goes to standard error.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from multus.api.errors import IOFailure, MissingPlugin
from multus.cli.findings import ERROR, NOTE, OK, WARNING, Finding
from multus.log._printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.text import Text

#: Text, or text and its style.
Part = str | tuple[str, str]

#: Lines that do not go to a terminal are not broken to fit one.
_PLAIN_WIDTH = 160
#: Characters of a table's cell, and of a line, beyond which text is cut.
_LONGEST_CELL, _LONGEST_LINE = 200, 8192
_STYLES = {ERROR: "bold red", WARNING: "yellow", NOTE: "cyan", OK: "green"}
_MARKS = {ERROR: "✗", WARNING: "!", NOTE: "·", OK: "✓"}
_ASCII_MARKS = {ERROR: "x", WARNING: "!", NOTE: "-", OK: "+"}


# --- Standard output ------------------------------------------------------------------------------

_claimed: TextIO | None = None


def claim() -> None:
    """Keep standard output for commands: descriptor 1 is standard error from now on.

    For the program alone, which is the only one to use its process.
    """
    global _claimed
    if sys.stdout is not None:
        encoding, kept = sys.stdout.encoding, os.dup(1)
        buffering = 1 if os.isatty(kept) else -1
        _claimed = open(kept, "w", buffering, encoding, errors="backslashreplace")  # noqa: SIM115
        os.dup2(2, 1)
        # Another stream: the old one may rely on what descriptor 1 was, a file for instance.
        sys.stdout = open(1, "w", 1, encoding, "backslashreplace", closefd=False)  # noqa: SIM115


def give_back() -> None:
    """Make descriptor 1 standard output again, for a program started in place of this one."""
    if _claimed is not None:
        _claimed.flush()
        os.dup2(_claimed.fileno(), 1)


def out() -> TextIO:
    """Standard output, as commands have it."""
    return _claimed or sys.stdout


class Lines(io.TextIOBase):
    """A text stream for what prints by itself: each whole line is said."""

    def __init__(self) -> None:
        self._begun = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._begun = f"{self._begun}{text}".split("\n")
        for line in lines:
            say(line)
        return len(text)


# --- Lines, and what is for programs --------------------------------------------------------------


def say(text: str = "") -> None:
    """A line for people on standard output, where rich is not needed."""
    write(printable(text, _LONGEST_LINE) + "\n")


def complain(text: str) -> None:
    """A line on standard error; it is lost when that is closed or full."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(printable(text, _LONGEST_LINE) + "\n")
            sys.stderr.flush()


def document(text: str) -> None:
    """A text for a program (YAML, a script), exact; on a terminal its lines are made printable."""
    if out().isatty():
        text = "\n".join(printable(line.expandtabs()) for line in text.split("\n"))
    write(text)


def as_json(value: Any, indent: int | None = 2) -> None:
    """A value as JSON for programs: exact, and in ASCII."""
    write(json.dumps(value, indent=indent) + "\n")


def flush() -> None:
    """Write out what is buffered; raises ``IOFailure`` as every function here does."""
    with _writing():
        out().flush()


def give_up_if_broken(stream: TextIO) -> None:
    """Send what *stream* cannot write to /dev/null; else the interpreter tries it once more."""
    try:
        stream.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def write(text: str) -> None:
    """A text of the program's own, as it is; raises ``IOFailure``."""
    with _writing():
        out().write(text)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has closed the pipe: it has all it wants
    except OSError as error:
        raise IOFailure(
            f"cannot write to standard output: {error.strerror}: what was printed is not complete"
        ) from error


# --- Text with styles -----------------------------------------------------------------------------


class Screen:
    """Standard output for people: colours on a terminal, plain text everywhere else."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @classmethod
    def open(cls) -> Screen:
        """The screen on standard output; raises ``MissingPlugin``."""
        try:
            from rich.console import Console
        except ImportError as error:
            raise MissingPlugin(
                "what is meant for people needs rich",
                fix="install multus[cli], or use --json",
            ) from error
        width = None if out().isatty() else _PLAIN_WIDTH
        return cls(Console(file=out(), width=width, highlight=False, soft_wrap=False))

    def line(self, *parts: Part) -> None:
        """A line made of parts, which is not broken."""
        self._print(_text(parts), soft_wrap=True)

    def heading(self, text: str) -> None:
        """A line that stands out, with an empty one before it."""
        self.line()
        self.line((text, "bold"))

    def rows(self, titles: Sequence[str], cells: Iterable[Sequence[str]]) -> None:
        """A table whose columns are as wide as what is in them; long cells go on below."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
        for title in titles:
            table.add_column(title, overflow="fold")
        for row in cells:
            table.add_row(*(Text(printable(cell, _LONGEST_CELL)) for cell in row))
        if self._console.is_terminal:
            self._print(table)
            return
        with self._console.capture() as captured:
            self._console.print(table)
        for line in captured.get().splitlines():
            self._print(Text(line.rstrip()), soft_wrap=True)

    def finding(self, each: Finding) -> None:
        """A finding: where, what, why, and what to do."""
        marks = _MARKS if self._console.encoding.lower().startswith("utf") else _ASCII_MARKS
        parts: list[Part] = [(f"{marks[each.severity]} ", _STYLES[each.severity])]
        if each.place is not None:
            parts.append((f"{each.place}: ", "bold"))
        parts.append(f"{each.subject}: {each.reason}")
        if each.code:
            parts.append((f" [code {each.code}]", "dim"))
        self.line(*parts)
        if each.fix:
            self.line((f"    {each.fix}", "dim"))

    def json(self, value: Any) -> None:
        """A value as indented JSON, coloured where there are colours."""
        from rich.text import Text

        text = "".join(
            char if char == "\n" or char.isprintable() else json.dumps(char)[1:-1]
            for char in json.dumps(value, indent=2, ensure_ascii=False)
        )
        if not self._console.is_terminal:
            self._print(Text(text), soft_wrap=True)
            return
        from rich.syntax import Syntax

        self._print(Syntax(text, "json", background_color="default", word_wrap=True))

    def _print(self, what: Any, *, soft_wrap: bool = False) -> None:
        with _writing():
            self._console.print(what, soft_wrap=soft_wrap)


def _text(parts: Sequence[Part]) -> Text:
    from rich.text import Text

    text = Text()
    for part in parts:
        said, style = (part, "") if isinstance(part, str) else part
        text.append(printable(said, _LONGEST_LINE), style=style)
    return text
