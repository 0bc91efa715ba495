"""One total time limit for several steps of work."""

from __future__ import annotations

import time

from attrs import frozen


@frozen
class Deadline:
    """A point on the monotonic clock, shared by all requests that serve one CNI call."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline ``seconds`` from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - time.monotonic())
