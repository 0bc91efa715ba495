"""Says what a command waits for, when that takes long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from multus.cli import screen


@contextmanager
def telling(text: str, after: float) -> Iterator[None]:
    """Print *text* to stderr when the block is not done *after* so many seconds."""
    timer = threading.Timer(after, screen.complain, (text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
