"""When the node is healed, and what came of it; for the supervisor's only thread.

A round begins at the start, and then every ``healMinutes``; it is carried out in parts, each a job
of a worker.  A part is queued only while no call waits.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from multus.daemon.jobs import Job

if TYPE_CHECKING:
    from multus.daemon.said import Healed
    from multus.daemon.settings import Settings
    from multus.log import Log

#: Pause before the first round, and between two parts of a round, in seconds.
_FIRST, _PAUSE = 1.0, 1.0
#: How much of the time between two rounds is left to chance, so that nodes do not act together.
_JITTER = 0.2
#: How many failed things of one round are kept.
_MOST_SKIPPED = 1024
#: Deadline of a part, in seconds.
_SECONDS = 120.0


class Healing:
    """The rounds: which is due, and how many things were found, removed and left, by kind."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._at = time.monotonic() + _FIRST
        self._runs = False
        self._skip: list[str] = []
        self._in_round = False
        self.rounds = 0
        self.found: Counter[str] = Counter()
        self.removed: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def job(self, now: float, settings: Settings, folders: Sequence[str]) -> Job | None:
        """The next part, when it is due; *folders* are all that have records."""
        if self._runs or now < self._at or not settings.heal_seconds:
            return None
        self._runs = True
        head = {"folders": list(folders), "grace": settings.heal_grace, "skip": self._skip}
        return Job("heal", "GC", "", now + _SECONDS, head=head)

    def ended(self, said: Healed, settings: Settings) -> None:
        """A part has ended: count it, and say when the next one, or the next round, is due."""
        if not self._in_round:
            self._in_round = True
            self.found.update(said.found)
        self.removed.update(said.removed)
        self.failed.update(said.failed)
        self._skip += said.skipped
        if said.more and len(self._skip) < _MOST_SKIPPED:
            self._runs, self._at = False, time.monotonic() + _PAUSE
        else:
            self._end_round(settings)

    def lost(self, settings: Settings, why: str) -> None:
        """The worker of a part has ended, or none can be started: the next round tries again."""
        self._log.error("healing was interrupted: the next round goes on", why=why)
        self._end_round(settings)

    def _end_round(self, settings: Settings) -> None:
        self.rounds += 1
        self._runs, self._in_round, self._skip = False, False, []
        chance = 1 + _JITTER * (2 * random.random() - 1)
        self._at = time.monotonic() + chance * settings.heal_seconds
