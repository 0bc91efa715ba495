"""All output of commands: text for people is made printable, text for programs is exact.

Commands print only through this module: the linter refuses ``print``, and a test refuses
``sys.stdout``. Text for people passes through ``printable`` part by part, so a newline or an escape
sequence in a name cannot reach the terminal, and rich does not interpret markup in it.

The program reserves standard output for commands (``claim``): output of plugins and their children
goes to standard error.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from multus.api.errors import IOFailure
from multus.cli.findings import (
    ERROR,
    NOT_APPLICABLE,
    NOTE,
    OK,
    UNCHECKED,
    WARNING,
    Finding,
)
from multus.cli.layout import Part, table
from multus.log._printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console
    from rich.text import Text

#: Columns when the output is not a terminal.
_PLAIN_WIDTH = 160
#: Columns of a terminal that does not say how many it has.
_UNKNOWN_WIDTH = 80
#: Spaces between the columns of a table.
_GAP = 2
#: Longer cells and lines are cut, in characters.
_LONGEST_CELL, _LONGEST_LINE = 200, 8192
_STYLES = {ERROR: "bold red", WARNING: "yellow", UNCHECKED: "cyan", NOTE: "cyan", OK: "green"}
_STYLES |= {NOT_APPLICABLE: "dim"}
_MARKS = {ERROR: "✗", WARNING: "!", UNCHECKED: "?", NOTE: "·", NOT_APPLICABLE: "-", OK: "✓"}
_ASCII_MARKS = {**_MARKS, ERROR: "x", NOTE: ".", OK: "+"}


# --- Standard output ------------------------------------------------------------------------------

_claimed: TextIO | None = None


def claim() -> None:
    """Reserve standard output for commands: from now on, descriptor 1 is standard error.

    Only the program calls this, not code that embeds Multus.
    """
    global _claimed
    if sys.stdout is not None:
        encoding, kept = sys.stdout.encoding, os.dup(1)
        buffering = 1 if os.isatty(kept) else -1
        _claimed = open(kept, "w", buffering, encoding, errors="backslashreplace")  # noqa: SIM115
        os.dup2(2, 1)
        # A new stream, since the old one may depend on the file that descriptor 1 was.
        sys.stdout = open(1, "w", 1, encoding, "backslashreplace", closefd=False)  # noqa: SIM115


def give_back() -> None:
    """Make descriptor 1 standard output again, before exec of another program."""
    if _claimed is not None:
        _claimed.flush()
        os.dup2(_claimed.fileno(), 1)


def out() -> TextIO:
    """The standard output of commands."""
    return _claimed or sys.stdout


class Lines(io.TextIOBase):
    """A text stream that prints each complete line through ``say``."""

    def __init__(self) -> None:
        self._begun = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._begun = f"{self._begun}{text}".split("\n")
        for line in lines:
            say(line)
        return len(text)


# --- Lines, and output for programs ---------------------------------------------------------------


def say(text: str = "") -> None:
    """Print a line for people to standard output, without rich."""
    write(printable(text, _LONGEST_LINE) + "\n")


def tell(text: str) -> None:
    """Print a sentence for people to standard output; on a terminal, it is wrapped."""
    for line in _wrapped(printable(text, _LONGEST_LINE), _width_of(out()), 2):
        say(line)


_before_output: Callable[[], None] | None = None


def _about_to_print() -> None:
    if _before_output is not None:
        _before_output()


def before_output(call: Callable[[], None] | None) -> None:
    """Have *call* called before anything is printed: it takes away what `aside` has written."""
    global _before_output
    _before_output = call


def aside(text: str) -> None:
    """Write text of this program to standard error at once; dropped if that is closed or full."""
    with suppress(OSError):
        os.write(2, text.encode(errors="replace"))


def aside_columns() -> int:
    """The columns of the terminal that standard error is; 0 when it is none."""
    if sys.stderr is None or not sys.stderr.isatty():
        return 0
    return _width_of(sys.stderr) or _UNKNOWN_WIDTH


def size() -> os.terminal_size:
    """The columns and lines of the terminal that standard output is."""
    try:
        found = os.get_terminal_size(out().fileno())
    except OSError:
        found = os.terminal_size((0, 0))
    return found if found.columns and found.lines else shutil.get_terminal_size()


def is_too_wide(rows: Sequence[Sequence[str]]) -> bool:
    """Whether standard output is a terminal that is too narrow for these rows as a table."""
    if not out().isatty():
        return False
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return sum(widths) + _GAP * (len(widths) - 1) > size().columns


def records(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print each row as lines of a title and a cell, with an empty line between rows."""
    longest = max(map(len, titles))
    for number, row in enumerate(rows):
        if number:
            say()
        for title, cell in zip(titles, row, strict=True):
            if cell:
                room = max(0, _width_of(out()) - longest - _GAP)
                first, *more = _wrapped(printable(cell, _LONGEST_LINE), room, 0)
                say(f"{title:<{longest}}  {first}")
                for each in more:
                    say(f"{'':<{longest}}  {each}")


def complain(text: str) -> None:
    """Print a line to standard error, wrapped on a terminal.

    It is dropped if standard error is closed or full.
    """
    if sys.stderr is not None:
        with suppress(OSError):
            _about_to_print()
            line = printable(text, _LONGEST_LINE)
            sys.stderr.write("\n".join(_wrapped(line, _width_of(sys.stderr), 2)) + "\n")
            sys.stderr.flush()


def _width_of(stream: TextIO) -> int:
    """The columns of a terminal; 0 for any other stream."""
    if not stream.isatty():
        return 0
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:  # it has no descriptor of its own
        return shutil.get_terminal_size().columns


def _wrapped(line: str, width: int, hang: int) -> list[str]:
    """The line in lines of at most *width* columns, words whole; as it is with width 0.

    The further ones are indented *hang* columns deeper than the first.
    """
    starts = [0, *_breaks(line, width, hang)]
    parts = [line[a:b].rstrip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
    indent = " " * _depth(line, hang)
    return [parts[0], *(f"{indent}{part}" for part in parts[1:])]


def _breaks(line: str, width: int, hang: int) -> list[int]:
    """Where further lines begin: before the word that does not fit any more."""
    found: list[int] = []
    start, room = 0, width
    for word in re.finditer(r"\S+", line) if width else ():
        if (
            word.end() - start > room
            and word.start() > start
            and line[start : word.start()].strip()
        ):
            start, room = word.start(), width - _depth(line, hang)
            found.append(start)
    return found


def _depth(line: str, hang: int) -> int:
    """The indentation of further lines."""
    return len(line) - len(line.lstrip()) + hang


def document(text: str) -> None:
    """Print text for a program (YAML, a script) exactly; on a terminal, make it printable."""
    if out().isatty():
        text = "\n".join(printable(line.expandtabs()) for line in text.split("\n"))
    write(text)


def as_json(value: Any, indent: int | None = 2) -> None:
    """Print a value as JSON for programs: exact, ASCII only."""
    write(json.dumps(value, indent=indent) + "\n")


def flush() -> None:
    """Flush the output; raises ``IOFailure``, like every function here."""
    with _writing():
        out().flush()


def give_up_if_broken(stream: TextIO) -> None:
    """Redirect *stream* to /dev/null if a flush fails: the interpreter flushes again at exit."""
    try:
        stream.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def write(text: str) -> None:
    """Print text unchanged (only text from this program); raises ``IOFailure``."""
    _about_to_print()
    with _writing():
        out().write(text)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # the reader closed the pipe on purpose
    except OSError as error:
        raise IOFailure(
            f"cannot write to standard output: {error.strerror}: the output is incomplete"
        ) from error


# --- Text with styles -----------------------------------------------------------------------------


class Screen:
    """Standard output for people: colours on a terminal, plain text elsewhere.

    Without rich it is plain text everywhere.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._is_begun = False

    @property
    def width(self) -> int:
        """The columns of a line."""
        return size().columns if out().isatty() else _PLAIN_WIDTH

    @property
    def is_ascii(self) -> bool:
        """Whether only ASCII can be shown."""
        return not (out().encoding or "").lower().startswith("utf")

    @classmethod
    def open(cls) -> Screen:
        """The screen on standard output."""
        try:
            from rich.console import Console
        except ImportError:
            return cls()
        width = None if out().isatty() else _PLAIN_WIDTH
        return cls(Console(file=out(), width=width, highlight=False, soft_wrap=False))

    def line(self, *parts: Part, hang: int = 0) -> None:
        """Print one line made of parts; on a terminal it is wrapped between words.

        Further lines are indented *hang* columns deeper than the first.
        """
        self._is_begun = True
        if self._console is None:
            say("".join(part if isinstance(part, str) else part[0] for part in parts))
            return
        text = _text(parts)
        width = self._console.width if out().isatty() else 0
        for number, each in enumerate(text.divide(_breaks(text.plain, width, hang))):
            if width:
                each.rstrip()
            if number:
                each.pad_left(_depth(text.plain, hang))
            self._print(each, soft_wrap=True)

    def part(self, *parts: Part) -> None:
        """Print parts without an end of the line."""
        if self._console is None:
            texts = (part if isinstance(part, str) else part[0] for part in parts)
            write(printable("".join(texts), _LONGEST_LINE))
        else:
            self._print(_text(parts), soft_wrap=True, end="")

    def heading(self, text: str) -> None:
        """Print a bold line, after an empty one unless it is the first of all."""
        if self._is_begun:
            self.line()
        self.line((text, "bold"))

    def rows(self, titles: Sequence[str], cells: Iterable[Sequence[str]]) -> None:
        """Print a table; on a terminal that is too narrow for it, one line for each cell."""
        shown = [[printable(cell, _LONGEST_CELL) for cell in row] for row in cells]
        if is_too_wide([titles, *shown]):
            records(titles, shown)
            return
        for line in table(titles, shown):
            self.line(*line)

    def finding(self, each: Finding) -> None:
        """Print a finding: place, subject, reason and fix."""
        marks = _ASCII_MARKS if self.is_ascii else _MARKS
        parts: list[Part] = [(f"{marks[each.severity]} ", _STYLES[each.severity])]
        if each.place is not None:
            parts.append((f"{each.place}: ", "bold"))
        parts.append(f"{each.subject}: {each.reason}")
        if each.code:
            parts.append((f" [code {each.code}]", "dim"))
        self.line(*parts, hang=2)
        if each.fix:
            self.line((f"    {each.fix}", "dim"))

    def json(self, value: Any) -> None:
        """Print a value as indented JSON, in colours on a terminal."""
        text = "".join(
            char if char == "\n" or char.isprintable() else json.dumps(char)[1:-1]
            for char in json.dumps(value, indent=2, ensure_ascii=False)
        )
        if self._console is None:
            write(text + "\n")
            return
        if not self._console.is_terminal:
            from rich.text import Text

            self._print(Text(text), soft_wrap=True)
            return
        from rich.syntax import Syntax

        self._print(Syntax(text, "json", background_color="default", word_wrap=True))

    def _print(self, what: Any, *, soft_wrap: bool = False, end: str = "\n") -> None:
        assert self._console is not None
        _about_to_print()
        with _writing():
            self._console.print(what, soft_wrap=soft_wrap, end=end)


def _text(parts: Sequence[Part]) -> Text:
    from rich.text import Text

    text = Text()
    for part in parts:
        said, style = (part, "") if isinstance(part, str) else part
        text.append(printable(said, _LONGEST_LINE), style=style)
    return text
