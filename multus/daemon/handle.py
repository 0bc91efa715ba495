"""A worker as the supervisor knows it: what it carries out, and whether that takes too long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attrs import frozen

from multus.daemon.board import Sight
from multus.daemon.channel import Channel
from multus.daemon.process import Process
from multus.daemon.said import Malformed, Ready, Report, Taken
from multus.log._printable import printable

if TYPE_CHECKING:
    from multus.daemon.generation import Generation
    from multus.daemon.jobs import Job

#: How long an interrupted step has to react, in seconds.
REACT = 2.0
#: How long beyond its deadline a call may take before its worker is killed, in seconds.
_BEYOND = 30.0

#: What is to be done about a worker: interrupt its step; or kill it, and this is why.
INTERRUPT, STUCK, BEYOND_DEADLINE = "interrupt", "stuck", "beyond its deadline"


class Worker(Process):
    """One worker; ``job`` is what it carries out, None while it is idle.

    ``slot`` is its place on the board, which a later worker reuses; ``serial`` is its own number.
    ``front`` says that it takes the next client by itself (``multus.daemon.front``).
    """

    def __init__(self, channel: Channel, slot: int, serial: int, generation: Generation) -> None:
        super().__init__(channel)
        self.slot = slot
        self.serial = serial
        self.generation = generation
        self.job: Job | None = None
        self.said_ready = self.front = self.recalled = False
        #: When it was last asked for what it has to answer: to begin, or to be the front or not.
        self.asked_at = self.idle_since = time.monotonic()
        self.interrupted_at = 0.0
        self.seen = Sight()
        self.given = 0
        self.stuck = False

    @property
    def ready(self) -> bool:
        """Whether it can be given work: it said so, and its handle is known.

        The template may tell the handle later. Until then the worker could not be killed, and would
        answer a client that had been given an error in its place.
        """
        return self.said_ready and self.handle >= 0

    def require_expected(self, said: Ready | Taken | Report) -> None:
        """Raise ``Malformed`` for what it has no reason to say now."""
        if isinstance(said, Taken) and not self.front:
            if said.connection is not None:
                said.connection.close()
            raise Malformed("it took a client, and is not the front worker")
        if isinstance(said, Report) and self.job is None:
            raise Malformed("it reports a job that it does not have")

    def assess(self, sight: Sight, now: float) -> str:
        """What is to be done about a worker with a job, which now shows *sight*.

        Returns ``INTERRUPT``, the reason to kill it, or an empty string to let it go on.
        """
        assert self.job is not None
        before, self.seen = self.seen, sight
        changed = sight.changes != before.changes
        # The supervisor starts another worker before it interrupts this one.
        halfway = sight.began + self.generation.settings.stuck_seconds / 2
        self.stuck = bool(sight.until) and not sight.waits and now > halfway
        if now > self.job.deadline + _BEYOND:
            return BEYOND_DEADLINE
        if self.interrupted_at:
            if changed:
                self.interrupted_at = 0.0  # the interrupted step ended, and another one began
            elif now > self.interrupted_at + REACT:
                return STUCK
        elif 0 < sight.until < now and not changed:  # the first look may have met a change
            self.interrupted_at = now
            return INTERRUPT
        return ""

    def doing(self, now: float) -> dict[str, object]:
        """What a worker with a job does, for people: fields of a line of the log."""
        assert self.job is not None
        seen = self.seen
        return {
            "pid": self.pid,
            "command": self.job.command,
            "container": self.job.container,
            "doing": seen.what or "nothing that it shows",
            "plugin": seen.plugin,
            "task": seen.task,
            "seconds": round(now - seen.began, 1) if seen.until else 0.0,
        }

    def described(self, now: float) -> str:
        """What it does, as one printable line."""
        if self.job is None:
            return f"{self.pid} idle" if self.ready else f"{self.pid} starting"
        doing = self.doing(now)
        state = "stuck" if self.stuck else "busy"
        what = f"{doing['command']} of container {doing['container'] or '(none)'}"
        return printable(f"{self.pid} {state}: {what}: {doing['seconds']} s in {doing['doing']}")

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
