"""The queue of jobs for the workers, and its order.

One job of a container runs at a time, so a pod whose calls hang or are retried blocks one worker.
Some workers are reserved for other commands than ADD: a DEL frees what ADDs wait for.  STATUS and
VERSION are cheap and come first.  Background jobs (spooled DELs, and the undo after a lost worker)
come when no call may start; so do healing, and looks at running pods.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from attrs import define, field

from multus.daemon.connection import Connection
from multus.daemon.wire import Received

QUICK = ("VERSION", "STATUS")


@define(eq=False)
class Job:
    """A job for one worker: ``kind`` is ``call``, ``replay`` (a spooled DEL), ``recover`` (an
    undo), ``heal`` (what containers that are gone have left) or ``look`` (at a running pod).

    ``deadline`` is a ``time.monotonic()`` time; ``path`` is the file of a replay; ``head`` is what
    the worker has to know beside the message (``Connection.head``); ``lost`` is how many workers
    ended before they began it.
    """

    kind: str
    command: str
    container: str
    deadline: float
    message: Received | None = field(default=None, repr=False)
    connection: Connection | None = field(default=None, repr=False)
    path: str = ""
    head: Mapping[str, Any] = field(factory=dict, repr=False)
    queued: float = field(factory=time.monotonic)
    lost: int = 0

    @property
    def payload(self) -> bytes:
        """The configuration from the client's stdin; empty for a replay."""
        return self.message.payload if self.message is not None else b""

    @property
    def quick(self) -> bool:
        return self.kind == "call" and self.command in QUICK


class Queue:
    """The jobs that wait."""

    def __init__(self) -> None:
        self._quick: deque[Job] = deque()
        self._calls: deque[Job] = deque()
        self._behind: deque[Job] = deque()

    def __len__(self) -> int:
        """How many calls wait; background jobs do not count."""
        return len(self._quick) + len(self._calls)

    def __iter__(self) -> Iterator[Job]:
        yield from self._quick
        yield from self._calls

    @property
    def behind(self) -> int:
        """How many jobs wait that are not calls."""
        return len(self._behind)

    def put(self, job: Job) -> None:
        if job.kind != "call":
            self._behind.append(job)
        elif job.quick:
            self._quick.append(job)
        else:
            self._calls.append(job)

    def put_back(self, job: Job) -> None:
        """Put a job at the head of its queue."""
        if job.kind != "call":
            self._behind.appendleft(job)
        elif job.quick:
            self._quick.appendleft(job)
        else:
            self._calls.appendleft(job)

    def take(self, busy: Collection[str], *, room: int, adds: int, behind: int) -> Job | None:
        """Take out the next job that may start, or None.

        *busy*:  containers that have a job under way.  *room*:  how many jobs may start, STATUS and
        VERSION apart.  *adds*:  how many of them may be ADDs.  *behind*:  how many may be
        background jobs.
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
        """Take all jobs out."""
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
