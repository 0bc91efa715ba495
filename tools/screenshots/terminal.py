"""Runs a program on a terminal, and reads what the terminal shows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence

import pyte
import pyte.graphics
from attrs import frozen

#: pyte knows no faint text. It is taken as italics, which no command uses.
_FAINT = "+italics"
#: Seconds until a program has to have ended, or to show what is waited for.
_PATIENCE = 60


@frozen
class Cell:
    """A character of the terminal, with its colour by name ("default", "red", …)."""

    text: str
    colour: str = "default"
    bold: bool = False
    faint: bool = False


#: What a terminal shows: rows of cells, without empty rows at the end.
Grid = list[list[Cell]]


class Ended(Exception):
    """A program ended or hung before it showed what was waited for."""


def shown(argv: Sequence[str], columns: int, rows: int) -> Grid:
    """What *argv* has printed when it ends, whatever its status, on a terminal of this size."""
    with _Terminal(argv, columns, rows) as terminal:
        terminal.read_until(None)
        return terminal.grid()


def live(argv: Sequence[str], columns: int, rows: int, until: str, keys: str) -> Grid:
    """What a program shows that goes on, once *until* is seen; *keys* end it."""
    with _Terminal(argv, columns, rows) as terminal:
        terminal.read_until(until)
        grid = terminal.grid()
        terminal.type(keys)
        return grid


class _Terminal:
    def __init__(self, argv: Sequence[str], columns: int, rows: int) -> None:
        pyte.graphics.TEXT[2] = _FAINT
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self._program = subprocess.Popen(
            argv,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> _Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Ended):
            self.read_until(None)
        if self._program.poll() is None:
            self._program.kill()
        self._program.wait()
        os.close(self._ours)

    def read_until(self, text: str | None) -> None:
        """Read until the screen has *text*, or with None until the program has ended."""
        deadline = time.monotonic() + _PATIENCE
        while text is None or not any(text in line for line in self._screen.display):
            if time.monotonic() > deadline:
                raise Ended(f"{self._program.args!r} has not shown {text!r}")
            if not select.select([self._ours], [], [], 1)[0]:
                continue
            try:
                read = os.read(self._ours, 65536)
            except OSError:  # the program has closed its end
                read = b""
            if not read:
                if text is None:
                    return
                raise Ended(f"{self._program.args!r} has ended without {text!r}")
            self._stream.feed(read)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def grid(self) -> Grid:
        rows = [
            [_cell(self._screen.buffer[y][x]) for x in range(self._screen.columns)]
            for y in range(self._screen.lines)
        ]
        while rows and not "".join(cell.text for cell in rows[-1]).strip():
            rows.pop()
        return rows


def _cell(char: pyte.screens.Char) -> Cell:
    return Cell(char.data, char.fg, char.bold, char.italics)
