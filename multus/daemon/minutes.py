"""What the daemon has done, for who reads its log: one line for each minute in which calls came.

A minute without calls, or with nothing but a STATUS that went well, has no line: runtimes ask for
it every few seconds.  So that the end of a log says whether the daemon is alive, an idle daemon has
a line each hour.  The lines do not depend on ``logLevel``, unless that is ``panic``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multus.log import Log

_MINUTE, _HOUR = 60.0, 3600.0
#: Refused calls of one minute that have a line of their own; the others are counted.
_MOST_REFUSED = 20
#: Commands that runtimes repeat, whether or not anything happens.
_REPEATED = frozenset(("STATUS", "VERSION"))
_COMMANDS = ("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION")


class Minutes:
    """Counts answers, and writes the lines; for the supervisor's only thread."""

    def __init__(self, log: Log, now: float) -> None:
        self._log = log
        self._told = now
        self._slowest = 0.0
        self._begin(now)

    def answered(self, command: str, code: str, seconds: float) -> None:
        """Count a call that was answered with this CNI error code ("0": success)."""
        command = command if command in _COMMANDS else "other"
        self._calls[command] += 1
        if code != "0":
            self._failed[command] += 1
        if command not in _REPEATED:
            self._slowest = max(self._slowest, seconds)
            self._worth = True
        self._worth = self._worth or code != "0"

    def refused(self, command: str, container: str, reason: str) -> None:
        """Log a call that no worker carried out."""
        self._refused += 1
        if self._refused <= _MOST_REFUSED:
            self._log.error(f"{command} is refused", container=container, error=reason)

    def due(self, now: float) -> bool:
        """Whether a minute is over."""
        return now - self._since >= _MINUTE

    def tell(self, now: float, state: Mapping[str, object]) -> None:
        """Write the line of the minute that ends, with what is not zero or empty of *state*."""
        if self._worth or now - self._told >= _HOUR:
            self._told = now
            fields: dict[str, object] = {
                "calls": dict(self._calls),
                "failed": dict(self._failed),
                "refused": self._refused,
                "slowestSeconds": round(self._slowest, 3),
                **state,
            }
            told = {key: value for key, value in fields.items() if value}
            message = "the last minute" if self._worth else "alive, no calls in the last minute"
            self._log.notice(message, **told)
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._since = now
        self._calls: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._refused = 0
        self._slowest = 0.0
        self._worth = False
