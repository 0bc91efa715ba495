"""The pool of workers: forks them on demand, watches them, and kills them when they hang.

A worker is idle or has one job.  When a step exceeds its time limit, the pool interrupts the
worker, and usually the step ends as an error of its plugin.  A worker that does not react is
killed; another one undoes its call from the journal.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from multus.daemon.board import Board
from multus.daemon.channel import Channel, Closed, Packet
from multus.daemon.generation import Generation
from multus.daemon.handle import INTERRUPT, REACT, STUCK, Ended, Worker
from multus.daemon.loop import Loop
from multus.daemon.said import Malformed, Ready, Report, Taken, read

if TYPE_CHECKING:
    from multus.daemon.jobs import Job
    from multus.log import Log

#: Number of idle workers to keep; seconds after which any other idle worker ends.
_KEPT_IDLE, _IDLE_SECONDS = 1, 3.0
#: Workers for each processor: for ADDs, and for calls that mostly wait for the kernel, such as DEL.
#: A call that has been in the queue for ``WAITED`` seconds gets a worker beyond that.
EACH_CORE, EACH_CORE_WAITING, WAITED = 4, 12, 1.0
#: How long the last front worker may be busy before another one replaces it, in seconds.
_SOON = 0.1
#: Interval between two checks that an idle front worker responds, in seconds.
_ASKED_EACH = 5.0
#: Pause before a failed fork is retried, and timeout of a fork, in seconds.
_FORK_PAUSE, _FORK_SECONDS = 1.0, 30.0

#: Why a worker is gone that the supervisor did not kill.
IT_ENDED = "process ended"


class Pool:
    """All workers; *heard* is called when one sent a packet, *ended* when one died with a job."""

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

    # --- The workers -----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._by_slot.values()))

    def __len__(self) -> int:
        return len(self._by_slot)

    @property
    def idle(self) -> list[Worker]:
        """The workers that can get a job."""
        return [
            each
            for each in self._by_slot.values()
            if each.ready and each.job is None and not each.front
        ]

    @property
    def stuck(self) -> list[Worker]:
        """The workers whose step has taken more than half of its time limit."""
        return [each for each in self._by_slot.values() if each.stuck]

    # --- Jobs ------------------------------------------------------------------------------------

    def give(self, job: Job) -> bool:
        """Give *job* to an idle worker; False when there is none; may raise ``TooLarge``."""
        while True:
            worker = max(self.idle, key=lambda each: each.idle_since, default=None)
            if worker is None:
                return False
            given = self._board.changes(worker.slot)
            try:
                worker.send(job)
            except (Closed, BlockingIOError):
                self._forget(worker, "did not accept a job")
                continue
            except OSError as error:
                self._out_of_resources(error)
                return False
            worker.job, worker.given = job, given
            return True

    def _out_of_resources(self, error: OSError) -> None:
        now = time.monotonic()  # the job stays in the queue, and is retried
        if now >= self._fork_after:
            self._log.error("the supervisor lacks a descriptor or memory", error=error)
        self._fork_after = now + _FORK_PAUSE

    def heard(self, worker: Worker) -> Taken | Report | None:
        """Receive a worker's packet; returns it when it concerns a call, else None."""
        try:
            said = read(worker.channel.receive())
            worker.require_expected(said)
        except BlockingIOError:
            return None
        except Closed:
            self._forget(worker, IT_ENDED)
            return None
        except Malformed as error:
            self._log.error("a worker is replaced: it sent a malformed message", error=error)
            self._forget(worker, "malformed message")
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
        """A front worker has started *job*, which it accepted itself."""
        worker.job, worker.given = job, 0

    def ended(self, worker: Worker, report: Report) -> Job:
        """A worker has reported the end of its job; returns the job."""
        job, worker.job = worker.job, None
        assert job is not None  # ``require_expected`` has checked it
        worker.stuck, worker.interrupted_at = False, 0.0
        if report.retire:
            self._log.error(
                "a worker is replaced: a call left something behind in it",
                left=report.retire,
                container=job.container,
                command=job.command,
            )
            self._count("left something behind")
            self._drop(worker)
        elif worker.generation.retired:
            self._drop(worker)
        return job

    # --- The front worker ------------------------------------------------------------------------

    @property
    def front(self) -> Worker | None:
        """The worker that accepts the next client."""
        return next((each for each in self._by_slot.values() if each.front), None)

    def grant(self, now: float) -> None:
        """Make an idle worker the front: the last one again, unless it is busy for ``_SOON``."""
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
        """Tell the front worker to stop accepting clients; it confirms."""
        worker = self.front
        if worker is not None and not worker.recalled:
            worker.recalled, worker.asked_at = True, time.monotonic()
            with contextlib.suppress(Closed, BlockingIOError):
                worker.channel.send({"front": False})

    # --- Starting and ending workers -------------------------------------------------------------

    def want(self, generation: Generation, limit: int, first: Job | None) -> None:
        """Fork a worker when that helps, up to *limit* workers; stuck ones do not count.

        *first* is the call that has waited longest.
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
        """The number of processors."""
        return self._cores

    def _have_time(self, busy: int, kernel_waits: bool) -> bool:
        """Whether the processors can serve one more than *busy* workers."""
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
        """Handle a template's answer to a fork request."""
        worker = self._asked_for.pop(packet.head["forked"], None)
        if worker is None:  # dropped before this answer arrived
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
        """No worker can be started now; retry after a pause."""
        if not self.refusal:
            self._log.error(f"cannot start a worker: {why}")
        self.refusal = why
        self._fork_after = time.monotonic() + _FORK_PAUSE

    def retire(self, generation: Generation) -> None:
        """End the idle workers of a generation; its others end after their calls."""
        for worker in self:
            if worker.generation is generation and worker.front:
                self.recall()
            elif worker.generation is generation and worker.job is None:
                self._drop(worker)

    def close(self) -> None:
        """End all workers."""
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
        """Kill a worker, if it is not dead already; its job is lost."""
        # Before the slot is read: the worker must not start to answer after that.
        worker.send_signal(signal.SIGKILL)
        sight = self._board.look(worker.slot)
        self._drop(worker)
        if worker.job is not None:
            begun = sight.changes != worker.given
            self._count(why)
            self._ended(Ended(worker.job, sight, why, begun))

    def end(self, worker: Worker, why: str) -> None:
        """Kill a worker, if it still exists; its job is lost."""
        if self._by_slot.get(worker.slot) is worker:
            self._forget(worker, why)

    def _count(self, why: str) -> None:
        self.replaced[why] = self.replaced.get(why, 0) + 1

    # --- Watching --------------------------------------------------------------------------------

    def watch(self, now: float) -> None:
        """Check every worker: interrupt a step that takes too long, kill a worker that hangs."""
        for worker in self:
            if worker.job is not None:
                was_stuck = worker.stuck
                verdict = worker.assess(self._board.look(worker.slot), now)
                if worker.stuck and not was_stuck:
                    self._log.error("a worker is blocked", **worker.doing(now))
                self._act(worker, verdict)
            elif not worker.ready and now > worker.asked_at + _FORK_SECONDS:
                self._refused(worker, "a worker did not become ready")
        self._watch_front(now)
        idle = sorted(self.idle, key=lambda each: each.idle_since, reverse=True)
        for worker in idle[_KEPT_IDLE:]:
            if now > worker.idle_since + _IDLE_SECONDS:
                self._drop(worker)

    def _watch_front(self, now: float) -> None:
        """Check that the front worker responds: while it hangs, no client is served."""
        worker = self.front
        if worker is None:
            return
        if worker.recalled and now > worker.asked_at + REACT:
            self._log.error("the front worker does not respond: it is replaced")
            self._forget(worker, STUCK)
        elif now > worker.asked_at + _ASKED_EACH:
            self.recall()

    def _act(self, worker: Worker, verdict: str) -> None:
        if verdict == INTERRUPT:
            worker.send_signal(signal.SIGUSR1)
        elif verdict:
            self._forget(worker, verdict)
