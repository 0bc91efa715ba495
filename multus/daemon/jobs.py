"""What workers are given, and in which order.

One container is worked on by one worker at a time, so that a pod whose calls hang, or are repeated,
holds one worker.  A part of the workers is kept from ADDs: what takes networks away frees what ADDs
wait for.  STATUS and VERSION need next to nothing and come first; DELs that were kept on disk, and
what a stopped worker left, come when nothing else waits.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterator

from attrs import define, field

from multus.daemon.connection import Connection
from multus.daemon.wire import Received

QUICK = ("VERSION", "STATUS")


@define(eq=False)
class Job:
    """Something for one worker: ``kind`` is ``call``, ``replay`` or ``recover``.

    ``deadline`` is a ``time.monotonic()`` moment; ``path`` is the file of a replay.
    """

    kind: str
    command: str
    container: str
    deadline: float
    message: Received | None = field(default=None, repr=False)
    connection: Connection | None = field(default=None, repr=False)
    path: str = ""
    queued: float = field(factory=time.monotonic)

    @property
    def payload(self) -> bytes:
        """The configuration on the client's stdin; empty for what no client asked."""
        return self.message.payload if self.message is not None else b""

    @property
    def quick(self) -> bool:
        return self.kind == "call" and self.command in QUICK


class Queue:
    """Jobs that wait."""

    def __init__(self) -> None:
        self._quick: deque[Job] = deque()
        self._calls: deque[Job] = deque()
        self._behind: deque[Job] = deque()

    def __len__(self) -> int:
        """How many calls wait; what is done behind them does not count."""
        return len(self._quick) + len(self._calls)

    def __iter__(self) -> Iterator[Job]:
        yield from self._quick
        yield from self._calls

    @property
    def behind(self) -> int:
        """How many replays and recoveries wait."""
        return len(self._behind)

    def put(self, job: Job) -> None:
        if job.kind != "call":
            self._behind.append(job)
        elif job.quick:
            self._quick.append(job)
        else:
            self._calls.append(job)

    def put_back(self, job: Job) -> None:
        """Queue a job before all others of its kind."""
        if job.kind != "call":
            self._behind.appendleft(job)
        elif job.quick:
            self._quick.appendleft(job)
        else:
            self._calls.appendleft(job)

    def take(self, busy: Collection[str], *, room: int, adds: int, behind: int) -> Job | None:
        """The next job that may begin, or None.

        *busy* are the containers that are worked on; *room* is how many calls that are not quick
        may begin, *adds* how many of those may be ADDs, *behind* how many replays.
        """
        if self._quick:
            return self._quick.popleft()
        if room > 0:
            for index, job in enumerate(self._calls):
                if job.container in busy or (job.command == "ADD" and adds <= 0):
                    continue
                del self._calls[index]
                return job
        if behind > 0 and room > 0:
            for index, job in enumerate(self._behind):
                if job.container not in busy:
                    del self._behind[index]
                    return job
        return None

    def drain(self) -> list[Job]:
        """Take everything out."""
        jobs = [*self._quick, *self._calls, *self._behind]
        self._quick.clear()
        self._calls.clear()
        self._behind.clear()
        return jobs

    def expired(self, now: float) -> list[Job]:
        """Take out the calls whose deadline has passed."""
        late = [job for job in self if now >= job.deadline]
        if late:
            self._quick = deque(job for job in self._quick if now < job.deadline)
            self._calls = deque(job for job in self._calls if now < job.deadline)
        return late
