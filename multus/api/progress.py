"""What this process is doing, for the supervisor that watches it.

A worker of the daemon serves one call at a time.  Before a plugin's code runs, and before something
is waited for, the worker says what that is and how long it may take.  The supervisor reads it from
shared memory (``multus.daemon.board``) and interrupts a step that takes longer.

In a process without a supervisor, ``step`` does nothing.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types import TracebackType


class Overdue(BaseException):
    """A step took longer than it may; raised in the worker's main thread by a signal.

    Not an ``Exception``: a plugin that catches everything and tries again must not catch this.
    """


class Watch(Protocol):
    """Where steps are shown.  ``patience`` is the seconds of a step that does not say how many."""

    patience: float

    def show(self, current: step | None) -> None:
        """Show *current* from now on; None when nothing is being done."""


_AFTER = ", after "

_watch: Watch | None = None
_current: step | None = None
_of_parent: step | None = None
_failed = ""


class step:  # noqa: N801  it is used like a function: ``with step("…", 5.0):``
    """A part of the work that may take *seconds*; the watch's patience, *times*, when that is 0.

    With *waits*, something outside this process is waited for: a lock, a program, an API server.
    Such a step needs no processor, and its seconds do not count for the step around it.
    """

    __slots__ = ("_outer", "began", "seconds", "times", "until", "waits", "what")

    def __init__(
        self, what: str, seconds: float = 0.0, *, waits: bool = False, times: int = 1
    ) -> None:
        self.what = what
        self.seconds = seconds
        self.times = times
        self.waits = waits
        self.began = self.until = 0.0
        self._outer: step | None = None

    def __enter__(self) -> step:
        global _current
        if _watch is not None:
            self.seconds = self.seconds or _watch.patience * self.times
            self.began = time.monotonic()
            self.until = self.began + self.seconds
            self._outer, _current = _current, self
            if self._outer is not None and self._outer._outer is not None and not self.waits:
                self.what = f"{self.what}, within {self._outer.what}"
            _watch.show(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _current, _failed
        if self is _of_parent:
            os._exit(1)
        if _watch is not None and _current is self:
            # First of all: an interruption that comes now is not of this step any more.
            _current = outer = self._outer
            if outer is not None:
                # What a step waits for has a limit of its own.
                spent = time.monotonic() - self.began
                outer.began += spent
                outer.until += spent
                if outer._outer is None:
                    # What is done between two plugins may fail for what the first of them did.
                    outer.what = f"{outer.what.partition(_AFTER)[0]}{_AFTER}{self.what}"
            _watch.show(outer)
            if error is not None and not _failed:
                _failed = self.what


def watched_by(watch: Watch | None) -> None:
    """Show the steps of this process to *watch* from now on."""
    global _watch, _current, _failed
    _watch, _current, _failed = watch, None, ""


def leave_to_parent() -> None:
    """In a process that a plugin forked: end it when it leaves the plugin's code.

    Otherwise it would go on with the request, as its parent does.
    """
    global _watch, _of_parent
    _watch, _of_parent = None, _current


def failed() -> str:
    """The first step that an exception ended, since this process is watched; "" for none."""
    return _failed


def raise_if_overdue() -> None:
    """Raise ``Overdue`` when the current step took longer than it may."""
    current = _current
    if current is not None and time.monotonic() >= current.until:
        raise Overdue(f"{current.what} did not end within {current.seconds:g} s")
