"""Waiting for what another thread, another process or the kernel does.

What it does *after* the thing that was waited for needs a wait of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds until something counts as never happening. A machine with other work can need many:
#: a test that passes does not wait for them. ./dev vm says how many times slower its machines are.
PATIENCE = 30.0 * int(os.environ.get("MULTUS_TESTS_SLOWNESS", "1"))


def eventually(holds: Callable[[], T], seconds: float = PATIENCE) -> T:
    """What the function returns, as soon as that is true; the test fails if it stays false."""
    found, in_time = _poll(holds, bool, seconds)
    assert in_time, f"after {seconds:g} s still {found!r}"
    return found


def becomes(value: Callable[[], object], expected: object, seconds: float = PATIENCE) -> None:
    """The function returns what is expected, now or later; the test fails if it does not."""
    found, in_time = _poll(value, lambda each: bool(each == expected), seconds)
    assert in_time, f"after {seconds:g} s still {found!r}, not {expected!r}"


def _poll(value: Callable[[], T], fits: Callable[[T], bool], seconds: float) -> tuple[T, bool]:
    """The last value, and whether it fits. One more look is taken after the end: this thread may
    not have run for all that time."""
    ends, last = time.monotonic() + seconds, False
    while not fits(found := value()):
        if last:
            return found, False
        last = time.monotonic() > ends
        time.sleep(0.01)
    return found, True
