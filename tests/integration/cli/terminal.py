"""A program on a pseudo-terminal, and what a person sees there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence

import pyte
from waiting import PATIENCE


class Terminal:
    """A running program on a terminal of *columns*; made by :func:`on_terminal`."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int, columns: int) -> None:
        self.process = process
        self.columns = columns
        self.written = b""
        self._ours = ours
        # Much wider than the program is told: a line that is too long does not wrap here.
        self._screen = pyte.Screen(1000, 400)
        self._stream = pyte.ByteStream(self._screen)
        self.before = self.attributes()

    def lines(self) -> list[str]:
        """What is on the screen, without the empty lines at its end."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip("\n").split("\n")

    def styles(self, text: str) -> set[str]:
        """The foreground colours of the first line that has *text*."""
        row = next(n for n, line in enumerate(self.lines()) if text in line)
        return {char.fg for char in self._screen.buffer[row].values()}

    def too_wide(self) -> list[str]:
        return [line for line in self.lines() if len(line) > self.columns]

    def attributes(self) -> list[object]:
        return list(termios.tcgetattr(self._ours))

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def resize(self, columns: int) -> None:
        self.columns = columns
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def until(self, pattern: str) -> None:
        """Read until the screen has a line that matches."""
        end = time.monotonic() + PATIENCE
        while not any(re.search(pattern, line) for line in self.lines()):
            assert time.monotonic() < end, self.lines()
            if not self._read(end):
                break
        assert any(re.search(pattern, line) for line in self.lines()), self.lines()

    def ended(self) -> int:
        """Read until the program has ended; returns its status."""
        while self._read(time.monotonic() + PATIENCE):
            pass
        return self.process.wait(PATIENCE)

    def _read(self, end: float) -> bool:
        ready = select.select([self._ours], [], [], max(0.0, end - time.monotonic()))[0]
        assert ready, "the program prints nothing and does not end"
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # EIO: the program has ended
            return False
        self.written += data
        self._stream.feed(data)
        return bool(data)


@contextlib.contextmanager
def on_terminal(
    command: Sequence[str], columns: int, *, encoding: str = "C.UTF-8"
) -> Iterator[Terminal]:
    """Start *command* on a terminal of 24 lines."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LC_ALL": encoding}
    environ |= {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environ,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours, columns)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
