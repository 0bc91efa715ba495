"""The daemon's processes as the supervisor knows them: channel, handle, and a worker's state."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from attrs import frozen

from multus.daemon.board import Sight
from multus.daemon.channel import Channel
from multus.daemon.said import Malformed, Ready, Report, Taken

if TYPE_CHECKING:
    from multus.daemon.generation import Generation
    from multus.daemon.jobs import Job


class Process:
    """A process of the daemon: its channel, and a handle that is never another process's."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.pid = 0
        self.handle = -1

    def begun(self, pid: int, handle: int) -> None:
        """It was forked."""
        self.pid, self.handle = pid, handle

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.handle, number)

    def end(self) -> None:
        """Kill it, and forget it."""
        self.send_signal(signal.SIGKILL)
        self.channel.close()
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


class Worker(Process):
    """One worker; ``job`` is what it carries out, None while it is idle.

    ``front`` says that it takes the next client by itself (``multus.daemon.front``).
    """

    def __init__(self, channel: Channel, slot: int, generation: Generation) -> None:
        super().__init__(channel)
        self.slot = slot
        self.generation = generation
        self.job: Job | None = None
        self.ready = self.front = self.recalled = False
        #: When it was last asked for what it has to answer: to begin, or to be the front or not.
        self.asked_at = self.idle_since = time.monotonic()
        self.interrupted_at = 0.0
        self.seen = Sight()
        self.given = 0
        self.stuck = False

    def require_expected(self, said: Ready | Taken | Report) -> None:
        """Raise ``Malformed`` for what it has no reason to say now."""
        if isinstance(said, Taken) and not self.front:
            if said.connection is not None:
                said.connection.close()
            raise Malformed("it took a client, and is not the front worker")
        if isinstance(said, Report) and self.job is None:
            raise Malformed("it reports a job that it does not have")

    @property
    def runs(self) -> bool:
        """Whether it uses a processor now: it may wait for the kernel, a program or a lock."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as stat:
                return stat.read().rpartition(b")")[2].split()[0] == b"R"
        except (OSError, IndexError):
            return False


@frozen
class Ended:
    """A worker that is gone: the job that it had, what it was doing, and why it ended.

    ``begun`` says whether it had begun the job, as far as it showed.
    """

    job: Job
    sight: Sight
    why: str
    begun: bool
