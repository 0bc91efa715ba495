"""The supervisor's view of a worker: its job, and whether that takes too long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.daemon.board import Sight
from multus.daemon.channel import Channel
from multus.daemon.process import Process
from multus.daemon.said import Malformed, Ready, Report, Taken
from multus.log._printable import printable

if TYPE_CHECKING:
    from multus.daemon.generation import Generation
    from multus.daemon.jobs import Job

#: Time for an interrupted step to end before its worker is killed, in seconds.
REACT = 2.0
#: Time after a call's deadline before its worker is killed, in seconds.
_BEYOND = 30.0

#: What to do with a worker: interrupt its step, or kill it for one of the two reasons.
INTERRUPT, STUCK, BEYOND_DEADLINE = "interrupt", "stuck", "deadline exceeded"


class Worker(Process):
    """One worker; ``job`` is None while it is idle.

    ``slot`` is its slot of the board, which a later worker reuses; ``serial`` is unique.
    ``front``:  it is the front worker (``multus.daemon.front``).
    """

    def __init__(self, channel: Channel, slot: int, serial: int, generation: Generation) -> None:
        super().__init__(channel)
        self.slot = slot
        self.serial = serial
        self.generation = generation
        self.job: Job | None = None
        self.said_ready = self.front = self.recalled = False
        #: When the supervisor last sent it something to answer: a start, or a front request.
        self.asked_at = self.idle_since = time.monotonic()
        self.interrupted_at = 0.0
        self.seen = Sight()
        self.given = 0
        self.stuck = False

    @property
    def ready(self) -> bool:
        """Whether it can get a job: it has reported ready, and its pidfd is known.

        The template may send the pidfd later.  Without it the supervisor could not kill the worker,
        which might then answer a client that has already got an error.
        """
        return self.said_ready and self.handle >= 0

    def require_expected(self, said: Ready | Taken | Report) -> None:
        """Raise ``Malformed`` for a message that its state does not allow."""
        if isinstance(said, Taken) and not self.front:
            if said.connection is not None:
                said.connection.close()
            raise Malformed("it took a client, but is not the front worker")
        if isinstance(said, Report) and self.job is None:
            raise Malformed("it reports on a job, but has none")

    def send(self, job: Job) -> None:
        """Hand *job* over; raises as ``Channel.send``."""
        head: dict[str, Any] = {**job.head, "kind": job.kind, "deadline": job.deadline}
        fds: tuple[int, ...] = ()
        body = b""
        if job.connection is not None:
            head["began"] = job.connection.began
            fds = (job.connection.socket.fileno(),)
        if job.kind == "replay":
            head["path"] = job.path
        elif job.message is not None:
            body = job.message.raw
        self.channel.send(head, body, fds)

    def assess(self, sight: Sight, now: float) -> str:
        """What to do with a worker that has a job and whose slot holds *sight*.

        Returns ``INTERRUPT``, the reason to kill it, or an empty string to let it continue.
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
                self.interrupted_at = 0.0  # the interrupted step ended, and another one started
            elif now > self.interrupted_at + REACT:
                return STUCK
        elif 0 < sight.until < now and not changed:  # the slot may change during the first look
            self.interrupted_at = now
            return INTERRUPT
        return ""

    def doing(self, now: float) -> dict[str, object]:
        """What a worker with a job does, as fields of a log line."""
        assert self.job is not None
        seen = self.seen
        return {
            "pid": self.pid,
            "command": self.job.command,
            "container": self.job.container,
            "doing": seen.what or "an unknown step",
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
        """Whether it is running on a processor, not waiting for the kernel, a program or a lock."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as stat:
                return stat.read().rpartition(b")")[2].split()[0] == b"R"
        except (OSError, IndexError):
            return False


@frozen
class Ended:
    """A worker that ended during a job: the job, its last step, and why it ended.

    ``begun``: its slot shows that it had started the job.
    """

    job: Job
    sight: Sight
    why: str
    begun: bool
