"""The current step of this process, and the time that each plugin takes.

A worker of the daemon serves one call at a time.  Before it runs a plugin's code or waits, the
worker publishes the step and its time limit in shared memory (``multus.daemon.board``).  The
supervisor reads them and interrupts a step that takes longer.  Without a supervisor nothing is
interrupted.

``timed`` sums up the time of plugins' steps, for the log, the observers and the metrics.
"""

from __future__ import annotations

import os
import time
from _thread import _local
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Overdue", "Spent", "Task", "step"]


class Overdue(BaseException):
    """A step exceeded its time limit; a signal raises this in the worker's main thread.

    It is not an ``Exception``, so that a plugin with ``except Exception`` does not catch it.
    """


class Watch(Protocol):
    """Receives the steps.  ``patience`` is the default time limit of a step, in seconds."""

    patience: float

    def show(self, current: step | None) -> None:
        """Publish the *current* step; None when the process is idle."""


class Task(NamedTuple):
    """A plugin's part in a request.

    ``plugin`` is the name of a plugin or of an invoker; ``name`` is the hook that is called, or the
    verb of the invoker.
    """

    plugin: str
    name: str


class Spent(NamedTuple):
    """The seconds of a task in one request; ``waited`` is the part spent waiting."""

    task: Task
    seconds: float
    waited: float


class Times:
    """The time of each task of a request so far."""

    def __init__(self) -> None:
        self._sums: dict[Task, tuple[float, float]] = {}

    def add(self, task: Task, seconds: float, waited: float) -> None:
        known = self._sums.get(task)
        self._sums[task] = (
            (seconds, waited) if known is None else (known[0] + seconds, known[1] + waited)
        )

    @property
    def spent(self) -> tuple[Spent, ...]:
        """The sums, in the order in which the tasks started."""
        return tuple(Spent(task, *sums) for task, sums in self._sums.items())


_AFTER = ", after "


class _Here(_local):
    """The current step of one thread: a plugin may have threads of its own."""

    watch: Watch | None = None
    current: step | None = None
    of_parent: step | None = None
    failed: str = ""
    times: Times | None = None


_here = _Here()


class step:  # noqa: N801  it is used like a function: ``with step("…", 5.0):``
    """A part of the work with a limit of *seconds*; 0 means the watch's ``patience`` × *times*.

    With *waits*, the step waits for something outside this process: a lock, a program, an API
    server.  Its seconds do not count for the enclosing step.  *task* names the plugin whose code
    runs, if any.
    """

    __slots__ = (
        "_entered",
        "_outer",
        "_waited",
        "began",
        "seconds",
        "task",
        "times",
        "until",
        "waits",
        "what",
    )

    def __init__(
        self,
        what: str,
        seconds: float = 0.0,
        *,
        waits: bool = False,
        times: int = 1,
        task: Task | None = None,
    ) -> None:
        self.what = what
        self.seconds = seconds
        self.times = times
        self.waits = waits
        self.task = task
        self.began = self.until = self._waited = 0.0
        self._outer: step | None = None

    def __enter__(self) -> step:
        here = _here
        self._outer, here.current = here.current, self
        self._entered = time.monotonic()
        watch = here.watch
        if watch is not None:
            self.seconds = self.seconds or watch.patience * self.times
            self.began = self._entered
            self.until = self.began + self.seconds
            if self._outer is not None:
                self.task = self.task or self._outer.task
                if self._outer._outer is not None and not self.waits:
                    self.what = f"{self.what}, within {self._outer.what}"
            watch.show(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        here = _here
        if self is here.of_parent:
            os._exit(1)
        if here.current is not self:
            return
        # Must be first: an interruption from here on does not belong to this step.
        here.current = outer = self._outer
        spent = time.monotonic() - self._entered
        if self.waits:
            self._waited = spent
        if outer is not None:
            outer._waited += self._waited
        times, task = here.times, self.task
        # The seconds are a task's own when the step around it is not a part of the same task.
        if times is not None and task is not None and (outer is None or outer.task is not task):
            times.add(task, spent, self._waited)
        if here.watch is not None:
            self._show_outer(here.watch, outer, spent)
            if error is not None and not here.failed:
                here.failed = self.what

    def _show_outer(self, watch: Watch, outer: step | None, spent: float) -> None:
        if outer is not None:
            # A waiting step has a limit of its own.
            outer.began += spent
            outer.until += spent
            if outer._outer is None:
                # Work between two plugins may fail because of what the first plugin did.
                outer.what = f"{outer.what.partition(_AFTER)[0]}{_AFTER}{self.what}"
        watch.show(outer)


@contextmanager
def timed() -> Iterator[Times]:
    """Sum up tasks' seconds inside the ``with`` block; nested blocks share one sum."""
    if _here.times is not None:
        yield _here.times
        return
    _here.times = Times()
    try:
        yield _here.times
    finally:
        _here.times = None


def watched_by(watch: Watch | None) -> None:
    """Publish the steps of this thread to *watch* from now on."""
    _here.watch, _here.current, _here.failed = watch, None, ""


def leave_to_parent() -> None:
    """In a process that a plugin forked: end it when it leaves the plugin's code.

    Otherwise it would continue the request, in parallel with its parent.
    """
    _here.watch, _here.of_parent = None, _here.current


def current() -> step | None:
    """This thread's current step."""
    return _here.current


def failed() -> str:
    """The first step that an exception ended since ``watched_by``; "" for none."""
    return _here.failed


def raise_if_overdue() -> None:
    """Raise ``Overdue`` when the current step exceeded its limit."""
    here = _here
    step = here.current if here.watch is not None else None
    if step is not None and time.monotonic() >= step.until:
        raise Overdue(f"{step.what} did not end within {step.seconds:g} s")
