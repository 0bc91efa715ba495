"""Says what a command does when it has printed nothing for a while: on standard error.

On a terminal, from one second on, in a line that the next output replaces. Elsewhere in plain
lines, every ten seconds, so that a log stays short. A timer's signal does it: whatever a command is
busy with or waits for, it is told, and no thread runs beside the command's own.

Only the program uses it (``begin``), not code that embeds the command line.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

from multus.cli import screen
from multus.log._printable import printable

#: Seconds without output, on a terminal and elsewhere.
ON_TERMINAL, ELSEWHERE = 1.0, 10.0
_CLEAR = "\r\x1b[K"


class _Told:
    """What the command does, and since when it has printed nothing."""

    def __init__(self, who: str, patience: float, *, terminal: bool) -> None:
        self._who, self._terminal = who, terminal
        self.step = "starting"
        self._patience = patience
        self._silent = time.monotonic()
        self._begun = self._silent
        self._is_shown = False

    def alarm(self, _number: int, _frame: FrameType | None) -> None:
        """Tell the step, unless something was printed meanwhile."""
        now = time.monotonic()
        if now - self._silent < self._patience:
            return
        text = f"{self._who}: {printable(self.step, 500)} ({now - self._begun:.0f} s)"
        if self._terminal:
            screen.aside(f"{_CLEAR}{text[: screen.aside_columns() - 1]}")
            self._is_shown = True
        else:
            screen.aside(f"{text}\n")
            self._silent = now

    def printed(self) -> None:
        """Something else is about to be printed."""
        if self._is_shown:
            screen.aside(_CLEAR)
            self._is_shown = False
        self._silent = time.monotonic()


_current: _Told | None = None


def begin(who: str, terminal: float = ON_TERMINAL, elsewhere: float = ELSEWHERE) -> None:
    """Tell from now on what *who* does, after so many seconds without output."""
    global _current
    is_terminal = screen.aside_columns() > 0
    patience = terminal if is_terminal else elsewhere
    _current = _Told(who, patience, terminal=is_terminal)
    screen.before_output(_current.printed)
    signal.signal(signal.SIGALRM, _current.alarm)
    signal.setitimer(signal.ITIMER_REAL, patience, patience / 4)


def doing(step: str) -> None:
    """What the command does now, in words that complete ``multus COMMAND: …``."""
    if _current is not None:
        _current.step = step


def end() -> None:
    """Tell nothing more: the command is done, or goes on until it is ended."""
    global _current
    if _current is not None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        _current.printed()
        screen.before_output(None)
        _current = None
