"""A screen that is drawn again and again: the terminal is as it was before, however it ends.

Source: xterm control sequences, "Alternate Screen Buffer"; termios(3).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from types import FrameType

from multus.cli import screen
from multus.cli.layout import Line, fitted
from multus.cli.screen import Screen

#: Enter the alternate screen without a cursor, and leave it.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
#: To the upper left corner; clear to the end of the line, and of the screen.
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"
#: Signals that end the program, after the terminal is restored.
_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Live:
    """A terminal that shows one screenful; made by :meth:`open`."""

    def __init__(self, shown: Screen, resized: int) -> None:
        self._shown = shown
        self._resized = resized

    @classmethod
    @contextlib.contextmanager
    def open(cls) -> Iterator[Live]:
        """Take the terminal; SIGTERM and SIGHUP end the program by ``SystemExit``."""
        with contextlib.ExitStack() as ending:
            reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            ending.callback(os.close, reader)
            ending.callback(os.close, writer)
            for number in _ENDING:
                ending.callback(signal.signal, number, signal.signal(number, _end))
            before = signal.signal(signal.SIGWINCH, lambda *_: None)
            ending.callback(signal.signal, signal.SIGWINCH, before)
            # The handler does nothing: the number of the signal in the pipe wakes `wait`.
            old = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
            ending.callback(signal.set_wakeup_fd, old)
            keys = _Keys.of_stdin()
            ending.callback(keys.leave)
            ending.callback(_leave)
            before = signal.signal(signal.SIGTSTP, lambda *_: _suspend(keys))
            ending.callback(signal.signal, signal.SIGTSTP, before)
            keys.take()
            screen.write(_ENTER)
            yield cls(Screen.open(), reader)

    def draw(self, lines: Sequence[Line], last: Line) -> None:
        """Show *lines*, as many as fit, and *last* in the bottom line."""
        size = screen.size()
        room = max(0, size.lines - 1)
        shown = [*lines[:room], *([[]] * (room - len(lines))), last]
        screen.write(_HOME)
        for number, line in enumerate(shown):
            self._shown.part(*fitted(line, size.columns))
            screen.write(_CLEAR_LINE + ("\r\n" if number < len(shown) - 1 else ""))
        screen.write(_CLEAR_REST)
        screen.flush()

    def wait(self, seconds: float) -> str:
        """The key that is pressed within *seconds*; "" for none, or when the size has changed."""
        typed = [sys.stdin.fileno()] if sys.stdin is not None and sys.stdin.isatty() else []
        ready = select.select([self._resized, *typed], [], [], seconds)[0]
        if self._resized in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._resized, 512)
        if typed and typed[0] in ready:
            pressed = os.read(typed[0], 32)
            if not pressed:
                raise SystemExit(0)  # the terminal is gone
            return pressed.decode(errors="replace")
        return ""


class _Keys:
    """Standard input, when it is a terminal: keys are read one by one, and are not shown."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._before = termios.tcgetattr(descriptor) if descriptor is not None else []

    @classmethod
    def of_stdin(cls) -> _Keys:
        there = sys.stdin is not None and sys.stdin.isatty()
        return cls(sys.stdin.fileno() if there else None)

    def take(self) -> None:
        if self._descriptor is not None:
            tty.setcbreak(self._descriptor)

    def leave(self) -> None:
        if self._descriptor is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)


def _suspend(keys: _Keys) -> None:
    """Ctrl-Z: stop with the terminal as it was before; take it again when the shell goes on."""
    _leave()
    keys.leave()
    ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, ours)
    keys.take()
    screen.write(_ENTER)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _leave() -> None:
    with contextlib.suppress(Exception):  # the terminal may be gone
        screen.write(_LEAVE)
        screen.flush()
