"""The workers: forked when there is work for them, watched, and ended when they hang.

A worker is idle, or it carries out one job.  When a step takes longer than it may, its worker is
interrupted, and mostly the step ends as an error of its plugin; a worker that does not react is
killed.  What a killed worker did is undone by another one, from the journal.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from multus.daemon.board import Board
from multus.daemon.channel import Channel, Closed, Packet
from multus.daemon.generation import Generation
from multus.daemon.handle import INTERRUPT, REACT, STUCK, Ended, Worker
from multus.daemon.loop import Loop
from multus.daemon.said import Malformed, Ready, Report, Taken, read

if TYPE_CHECKING:
    from multus.daemon.jobs import Job
    from multus.log import Log

#: Idle workers that are kept, and after how many seconds a further one is ended.
_KEPT_IDLE, _IDLE_SECONDS = 1, 3.0
#: Workers for each processor, for ADDs and for what mostly waits for the kernel, such as a DEL; and
#: after how many seconds in the queue a call gets a worker all the same.
EACH_CORE, EACH_CORE_WAITING, WAITED = 4, 12, 1.0
#: How long a front worker may be at work before another one takes its place, in seconds.
_SOON = 0.1
#: How often an idle front worker is asked whether it still answers, in seconds.
_ASKED_EACH = 5.0
#: After how many seconds a refused fork is tried again, and how long one may take.
_FORK_PAUSE, _FORK_SECONDS = 1.0, 30.0

#: Why a worker is gone that was not ended by the supervisor.
IT_ENDED = "it ended"


class Pool:
    """All workers; *heard* is called when one says something, *ended* when one went with a job."""

    def __init__(
        self,
        board: Board,
        loop: Loop,
        listener: socket.socket,
        log: Log,
        heard: Callable[[Worker], None],
        ended: Callable[[Ended], None],
    ) -> None:
        self._board = board
        self._loop = loop
        self._listener = listener
        self._hot: Worker | None = None
        self._heard = heard
        self._log = log
        self._ended = ended
        self._free = list(range(board.slots - 1, -1, -1))
        self._by_slot: dict[int, Worker] = {}
        self._asked_for: dict[int, Worker] = {}
        self._serials = itertools.count()
        self._fork_after = 0.0
        self._cores = len(os.sched_getaffinity(0))
        self.refusal = ""
        self.replaced: dict[str, int] = {}

    # --- What there is ---------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._by_slot.values()))

    def __len__(self) -> int:
        return len(self._by_slot)

    @property
    def idle(self) -> list[Worker]:
        """Workers that can be given a job."""
        return [
            each
            for each in self._by_slot.values()
            if each.ready and each.job is None and not each.front
        ]

    @property
    def stuck(self) -> list[Worker]:
        """Workers in a step that takes suspiciously long."""
        return [each for each in self._by_slot.values() if each.stuck]

    # --- Work ------------------------------------------------------------------------------------

    def give(self, job: Job) -> bool:
        """Let an idle worker carry *job* out; False when there is none."""
        while True:
            worker = max(self.idle, key=lambda each: each.idle_since, default=None)
            if worker is None:
                return False
            given = self._board.changes(worker.slot)
            try:
                self._send(worker, job)
            except (Closed, BlockingIOError):
                self._forget(worker, "it did not take a job")
                continue
            except OSError as error:
                self._out_of_resources(error)
                return False
            worker.job, worker.given = job, given
            return True

    def _out_of_resources(self, error: OSError) -> None:
        now = time.monotonic()  # the queue waits, and it is tried again
        if now >= self._fork_after:
            self._log.error("the supervisor lacks a descriptor or memory", error=error)
        self._fork_after = now + _FORK_PAUSE

    def _send(self, worker: Worker, job: Job) -> None:
        head: dict[str, Any] = {"kind": job.kind, "deadline": job.deadline}
        fds: tuple[int, ...] = ()
        body = b""
        if job.connection is not None:
            head["began"] = job.connection.began
            fds = (job.connection.socket.fileno(),)
        if job.kind == "replay":
            head["path"] = job.path
        elif job.message is not None:
            body = job.message.raw
        worker.channel.send(head, body, fds)

    def heard(self, worker: Worker) -> Taken | Report | None:
        """Take what a worker says that concerns its work; None for what concerns itself alone."""
        try:
            said = read(worker.channel.receive())
            worker.require_expected(said)
        except BlockingIOError:
            return None
        except Closed:
            self._forget(worker, IT_ENDED)
            return None
        except Malformed as error:
            self._log.error("a worker is replaced: what it said is malformed", error=error)
            self._forget(worker, "it said something malformed")
            return None
        worker.idle_since = time.monotonic()
        worker.front = worker.recalled = False
        if isinstance(said, Ready):
            worker.said_ready = True
        has_work = isinstance(said, Report) or (isinstance(said, Taken) and said.message)
        if worker.generation.retired and not has_work:
            self._drop(worker)
        return None if isinstance(said, Ready) else said

    def has_begun(self, worker: Worker, job: Job) -> None:
        """A front worker took *job* from its client itself."""
        worker.job, worker.given = job, 0

    def ended(self, worker: Worker, report: Report) -> Job:
        """A worker reports that its job is done; returns the job."""
        job, worker.job = worker.job, None
        assert job is not None  # it would not be expected to report
        worker.stuck, worker.interrupted_at = False, 0.0
        if report.retire:
            self._log.error(
                "a worker is replaced: a call left it not as before",
                left=report.retire,
                container=job.container,
                command=job.command,
            )
            self._count("left something")
            self._drop(worker)
        elif worker.generation.retired:
            self._drop(worker)
        return job

    # --- The front -------------------------------------------------------------------------------

    @property
    def front(self) -> Worker | None:
        """The worker that takes the next client."""
        return next((each for each in self._by_slot.values() if each.front), None)

    def grant(self, now: float) -> None:
        """Let an idle worker take the next client: the last one, unless it is busy for long."""
        hot = self._hot
        lives = hot is not None and self._by_slot.get(hot.slot) is hot
        if lives and hot is not None and hot.job is not None and now - hot.idle_since < _SOON:
            return
        worker = max(self.idle, key=lambda each: (each is hot, each.idle_since), default=None)
        if worker is None or worker.generation.retired:
            return
        with contextlib.suppress(Closed, BlockingIOError):
            worker.channel.send({"front": True})
            worker.front, worker.asked_at = True, now
            self._hot = worker

    def recall(self) -> None:
        """Have the front worker leave clients to the supervisor; it answers when it does."""
        worker = self.front
        if worker is not None and not worker.recalled:
            worker.recalled, worker.asked_at = True, time.monotonic()
            with contextlib.suppress(Closed, BlockingIOError):
                worker.channel.send({"front": False})

    # --- Coming and going ------------------------------------------------------------------------

    def want(self, generation: Generation, limit: int, first: Job | None) -> None:
        """Fork a worker when that helps, as long as no more than *limit* of them are not stuck.

        *first* is the call that waits for the longest time.
        """
        now = time.monotonic()
        workers = self._by_slot.values()
        coming = any(not each.ready for each in workers)
        idle = bool(self.idle)
        if idle or coming or now < self._fork_after or not self._free or not generation.ready:
            return
        if len(self) - len(self.stuck) >= limit:
            return
        waits_long = first is not None and now - first.queued > WAITED
        kernel_waits = first is not None and first.command != "ADD"
        if waits_long or self._have_time(len(workers), kernel_waits):
            self._fork(generation)

    @property
    def cores(self) -> int:
        """The processors that there are."""
        return self._cores

    def _have_time(self, busy: int, kernel_waits: bool) -> bool:
        """Whether the processors can serve more than the *busy* workers."""
        if busy >= (EACH_CORE_WAITING if kernel_waits else EACH_CORE) * self._cores:
            return False
        return busy < self._cores or sum(each.runs for each in self) < self._cores

    def _fork(self, generation: Generation) -> None:
        try:
            mine, theirs = Channel.pair()
        except OSError as error:
            self._out_of_resources(error)
            return
        slot = self._free.pop()
        mine.socket.setblocking(False)
        worker = Worker(mine, slot, next(self._serials), generation)
        self._board.clear(slot)
        self._by_slot[slot] = self._asked_for[worker.serial] = worker
        self._loop.add(mine, lambda: self._heard(worker))
        try:
            generation.fork(slot, worker.serial, theirs, self._listener)
        except Closed:
            self._refused(worker, "the template process ended")
        finally:
            theirs.close()

    def forked(self, packet: Packet) -> None:
        """What a template answers when it was asked for a worker."""
        worker = self._asked_for.pop(packet.head["forked"], None)
        if worker is None:  # it was given up before this answer came
            for handle in packet.fds:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                os.close(handle)
            return
        if not packet.fds:
            lost = "the supervisor has no descriptor left"
            self._refused(worker, packet.head.get("error", lost))
            return
        self.refusal = ""
        worker.begun(packet.head["pid"], packet.fds[0])

    def _refused(self, worker: Worker, why: str) -> None:
        self._refuse(why)
        self._drop(worker)

    def _refuse(self, why: str) -> None:
        """No worker can be started now; it is tried again after a pause."""
        if not self.refusal:
            self._log.error(f"cannot start a worker: {why}")
        self.refusal = why
        self._fork_after = time.monotonic() + _FORK_PAUSE

    def retire(self, generation: Generation) -> None:
        """Let the idle workers of a generation go; the others follow when they are done."""
        for worker in self:
            if worker.generation is generation and worker.front:
                self.recall()
            elif worker.generation is generation and worker.job is None:
                self._drop(worker)

    def close(self) -> None:
        """End all of them."""
        for worker in self:
            self._drop(worker)

    def _drop(self, worker: Worker) -> None:
        self._loop.remove(worker.channel)
        worker.end()
        del self._by_slot[worker.slot]
        self._asked_for.pop(worker.serial, None)
        self._board.clear(worker.slot)
        self._free.append(worker.slot)

    def _forget(self, worker: Worker, why: str) -> None:
        """A worker is gone, or is made to go, whatever it was doing."""
        worker.send_signal(signal.SIGKILL)  # before the look: it must not begin to answer after it
        sight = self._board.look(worker.slot)
        self._drop(worker)
        if worker.job is not None:
            begun = sight.changes != worker.given
            self._count(why)
            self._ended(Ended(worker.job, sight, why, begun))

    def end(self, worker: Worker, why: str) -> None:
        """End a worker, if it is there still; its job is lost."""
        if self._by_slot.get(worker.slot) is worker:
            self._forget(worker, why)

    def _count(self, why: str) -> None:
        self.replaced[why] = self.replaced.get(why, 0) + 1

    # --- Watching --------------------------------------------------------------------------------

    def watch(self, now: float) -> None:
        """Look at every worker: interrupt what takes too long, kill what does not react."""
        for worker in self:
            if worker.job is not None:
                was_stuck = worker.stuck
                verdict = worker.assess(self._board.look(worker.slot), now)
                if worker.stuck and not was_stuck:
                    self._log.error("a worker is blocked", **worker.doing(now))
                self._act(worker, verdict)
            elif not worker.ready and now > worker.asked_at + _FORK_SECONDS:
                self._refused(worker, "a worker did not begin")
        self._watch_front(now)
        idle = sorted(self.idle, key=lambda each: each.idle_since, reverse=True)
        for worker in idle[_KEPT_IDLE:]:
            if now > worker.idle_since + _IDLE_SECONDS:
                self._drop(worker)

    def _watch_front(self, now: float) -> None:
        """Have the front worker answer from time to time: while it hangs, no client is served."""
        worker = self.front
        if worker is None:
            return
        if worker.recalled and now > worker.asked_at + REACT:
            self._log.error("the worker that takes clients does not answer: it is replaced")
            self._forget(worker, STUCK)
        elif now > worker.asked_at + _ASKED_EACH:
            self.recall()

    def _act(self, worker: Worker, verdict: str) -> None:
        if verdict == INTERRUPT:
            worker.send_signal(signal.SIGUSR1)
        elif verdict:
            self._forget(worker, verdict)
