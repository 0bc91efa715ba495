"""The supervisor's calls: it queues them, gives them to workers, and makes sure each is answered.

Beyond the limit, a call is refused with code 11 and the runtime retries it: memory stays bounded
under overload.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from multus.cni.shim import SERVE_S, error_answer
from multus.daemon import wire
from multus.daemon.channel import TooLarge
from multus.daemon.connection import Connection, plain
from multus.daemon.handle import Ended, Worker
from multus.daemon.jobs import Job, Queue
from multus.daemon.looked import Looked
from multus.daemon.loop import Loop
from multus.daemon.pool import EACH_CORE, IT_ENDED, WAITED, Pool
from multus.daemon.said import Report
from multus.daemon.spool import container_of

if TYPE_CHECKING:
    from multus.daemon.board import Board
    from multus.daemon.generation import Generation
    from multus.daemon.healing import Healing
    from multus.daemon.metrics import Metrics
    from multus.daemon.minutes import Minutes
    from multus.daemon.settings import Limits
    from multus.daemon.spool import Spool
    from multus.log import Log

_BUSY = b"the multus daemon has reached its limit of calls: try again"
STOPPING = b"the multus daemon is stopping: try again"
#: Interval between two looks at the spool, in seconds.
_SPOOL_SECONDS = 1.0
#: How often a job is given to another worker because its worker ended before it began the job.
_MOST_PUT_BACK = 2
#: Deadline of background jobs, in seconds.
_BEHIND_SECONDS = 120.0


class Calls:
    """All calls that are not answered yet; for the supervisor's only thread."""

    def __init__(
        self,
        board: Board,
        loop: Loop,
        listener: socket.socket,
        generation: Generation,
        spool: Spool,
        metrics: Metrics,
        log: Log,
        limits: Limits,
    ) -> None:
        self.generation = generation
        self.spool = spool
        self.pool = Pool(board, loop, listener, log, self._heard, self._lost)
        self._board = board
        self._metrics = metrics
        self._log = log
        self._limits = limits
        self._queue = Queue()
        self._containers: Counter[str] = Counter()
        self._adds = self._calls = self._behind = 0
        self._replaying: set[str] = set()
        self._stopping = self._ending = False
        #: None in a warm engine, which ends before long.
        self.healing: Healing | None = None
        #: None in a warm engine too.
        self.minutes: Minutes | None = None
        #: Whether a call that has not begun can be left to its client, as with a warm engine.
        self.dispensable = False
        #: What is installed has changed since the workers' service was made, or no worker can be.
        self.outdated = False
        #: When a runtime last sent a call or got its answer; those that it repeats do not count.
        self.last_call = time.monotonic()
        self._look_at = 0.0
        #: How looks at running pods ended, and how many did.
        self.looked: dict[str, int] = {}
        #: Called with whether the supervisor accepts clients; with a client that a worker hands
        #: off.
        self.listen: Callable[[bool], None] = lambda _: None
        self.take_over: Callable[[Connection], None] = lambda _: None
        #: Called with the container of a look, and how it ended.
        self.tell_looked: Callable[[str, Looked], None] = lambda _, __: None

    @property
    def admitted(self) -> int:
        """How many calls wait or run."""
        return self._calls + len(self._queue)

    @property
    def quiet(self) -> bool:
        """Whether no call waits or runs, and no worker accepts clients."""
        return not self.admitted and self.pool.front is None

    @property
    def idle(self) -> bool:
        """Whether nothing waits or runs, in the background too."""
        return not self.admitted and not self._behind

    @property
    def waiting(self) -> int:
        """How many calls wait in the queue."""
        return len(self._queue)

    def unhealthy(self) -> str:
        """Why the daemon needs a restart; empty when it is healthy."""
        stuck = self.pool.stuck
        if len(stuck) >= self._limits.workers:
            what = stuck[0].seen.what
            return f"{len(stuck)} workers are stuck, one in {what}"
        if self.pool.refusal and not len(self.pool):
            return f"no worker can be started: {self.pool.refusal}"
        return ""

    # --- Starting calls --------------------------------------------------------------------------

    def start(self, connection: Connection, message: wire.Received) -> None:
        """Queue a call, or refuse it."""
        command = message.variable(b"CNI_COMMAND")
        refusal = STOPPING if self._stopping else b""
        if self.admitted >= self._limits.admitted:
            refusal = _BUSY
        if refusal:
            self._refuse(connection, message, command, refusal)
            return
        container = message.variable(b"CNI_CONTAINERID")
        deadline = connection.began + (message.seconds or SERVE_S)
        head = connection.head
        self._queue.put(Job("call", command, container, deadline, message, connection, head=head))
        self.pump()

    def look(self, wire: Mapping[str, Any]) -> None:
        """Queue a look at a running pod, behind the calls."""
        deadline = time.monotonic() + _BEHIND_SECONDS
        self._queue.put(
            Job("look", "CHANGE", str(wire["container"]), deadline, head={"look": wire})
        )
        self.pump()

    def _has_looked(self, job: Job, looked: Looked) -> None:
        self.looked[looked.outcome] = self.looked.get(looked.outcome, 0) + 1
        if looked.outcome == "failed":
            pod, why = job.head["look"]["pod"], "; ".join(looked.told)
            self._log.verbose("a look at a pod failed: it is repeated", pod=pod, error=why)
        self.tell_looked(job.container, looked)

    def pump(self) -> None:
        """Give the jobs that may start to idle workers."""
        while True:
            job = self._next()
            if job is None:
                break
            if job.connection and job.command != "DEL" and not job.connection.is_there():
                # The client is gone, so the attachment would be of no use.
                self._log.verbose(f"a client disconnected before its {job.command} started")
                job.connection.leave_to_client()
                continue
            try:
                given = self.pool.give(job)
            except TooLarge as error:
                self._cannot_give(job, error)
                continue
            if not given:
                self._queue.put_back(job)
                break
            self._begun(job)
        now, limits = time.monotonic(), self._limits
        self._board.publish(
            self.admitted, self._containers, adds_wait=self._adds >= self._adds_at_most()
        )
        self._choose_front(now)
        first = next(iter(self._queue), None)
        self.pool.want(self.generation, limits.workers + limits.quick_workers, first)

    def _cannot_give(self, job: Job, error: TooLarge) -> None:
        text = f"no worker can receive this {job.command}: {error}"
        self._log.error(text, container=job.container)
        if job.connection is not None:
            self._refuse(job.connection, job.message, job.command, plain(text))

    def _next(self) -> Job | None:
        if not self.pool.idle:
            return None
        stuck = sum(each.job is not None and not each.job.quick for each in self.pool.stuck)
        running = self._calls + self._behind - stuck
        room = self._limits.workers - running
        # Background jobs take at most a quarter of the workers.
        behind = max(1, self._limits.workers // 4) - self._behind if not self._stopping else 0
        adds = self._adds_at_most() - self._adds
        return self._queue.take(self._containers, room=room, adds=adds, behind=behind)

    def _adds_at_most(self) -> int:
        """How many ADDs may run: as many as the processors can serve; more after a long wait."""
        stuck = sum(each.job is not None and each.job.command == "ADD" for each in self.pool.stuck)
        first = next(iter(self._queue), None)
        if first is not None and time.monotonic() - first.queued > WAITED:
            return self._limits.adds + stuck
        return min(self._limits.adds, EACH_CORE * self.pool.cores) + stuck

    def _choose_front(self, now: float) -> None:
        """Let one idle worker accept the next client, unless calls wait or are refused."""
        pool = self.pool
        room = self._calls + self._behind < self._limits.workers
        if self._stopping or self._ending or len(self._queue) or not room:
            pool.recall()
        elif pool.front is None:
            pool.grant(now)
        elif not pool.idle and self._queue.behind:
            pool.recall()
        self.listen(pool.front is None)

    def _begun(self, job: Job) -> None:
        if job.container:
            # Two jobs at a time when the front worker took a call while a replay was given out.
            self._containers[job.container] += 1
        self._count(job, 1)

    def _count(self, job: Job, by: int) -> None:
        if job.kind != "call":
            self._behind += by
            return
        self._calls += by
        if not job.quick:
            self.last_call = time.monotonic()
        if job.command == "ADD":
            self._adds += by

    # --- Ending calls ----------------------------------------------------------------------------

    def _heard(self, worker: Worker) -> None:
        """Handle a worker's packet: it is ready, has taken a client, or reports on its job."""
        said = self.pool.heard(worker)
        if isinstance(said, Report):
            job = self.pool.ended(worker, said)
            self._finished(job)
            self.outdated = self.outdated or said.outdated
            self._account(job, said)
        elif said is not None and said.message is not None:
            self._has_begun(worker, said.message, said.connection)
        elif said is not None and said.connection is not None:
            self.take_over(said.connection)
        self.pump()

    def _has_begun(
        self, worker: Worker, message: wire.Received, connection: Connection | None
    ) -> None:
        """The front worker has started a client's call."""
        command = message.variable(b"CNI_COMMAND")
        container = message.variable(b"CNI_CONTAINERID")
        began = connection.began if connection is not None else time.monotonic()
        deadline = began + (message.seconds or SERVE_S)
        job = Job("call", command, container, deadline, message, connection)
        self.pool.has_begun(worker, job)
        self._begun(job)

    def _finished(self, job: Job) -> None:
        self._containers -= Counter((job.container,))
        self._replaying.discard(job.path)
        self._count(job, -1)

    def _account(self, job: Job, report: Report) -> None:
        self._metrics.reported(report)
        if report.cni_dir:
            self.spool.learn(report.cni_dir)
        if job.kind == "recover" and report.answer:
            self._log.error(
                "cannot undo the call of a lost worker: the next DEL retries",
                container=job.container,
                error=report.answer,
            )
        self._account_behind(job, report)
        if job.connection is not None:
            self._answered(job.connection, job.command, report.code)
            job.connection.close()
            if not report.taken:
                self._log.error(
                    f"the client did not take the answer to {job.command}: it has to send DEL",
                    container=job.container,
                    code=report.code,
                )

    def _account_behind(self, job: Job, report: Report) -> None:
        if report.healed is not None and self.healing is not None:
            self.healing.ended(report.healed, self.generation.settings)
        for each in report.replayed:
            self.spool.ended(each.path, each.outcome, each.reason)
        if job.kind == "look":
            self._has_looked(job, report.looked or Looked("failed"))

    def _lost(self, ended: Ended) -> None:
        """A worker died during its job: answer its client, and queue the undo."""
        job = ended.job
        self._finished(job)
        job.lost += 1
        if not ended.begun and ended.why == IT_ENDED and job.lost <= _MOST_PUT_BACK:
            self._queue.put_back(job)  # the job had not started
            if job.path:
                self._replaying.add(job.path)
            return
        what = ended.sight.what or "the engine"
        self._log.error(
            "a worker was lost",
            why=ended.why,
            doing=what,
            command=job.command,
            container=job.container,
        )
        if job.kind == "replay":
            self.spool.ended(job.path, "failed", f"its worker was lost ({ended.why}) in {what}")
        self._not_healed(job, ended.why)
        if job.kind == "look":
            self._has_looked(job, Looked("failed", (f"its worker was lost in {what}",)))
        if job.connection is not None:
            self._answered(job.connection, job.command, "11")
            if ended.begun and ended.sight.answering:
                job.connection.close()
            else:
                text = f"the worker of this call was lost ({ended.why}) in {what}: see the log"
                said = error_answer(job.payload, 11, plain(text))
                job.connection.answer_at_once(said)
        if job.kind == "call" and job.command in ("ADD", "DEL") and not self._stopping:
            deadline = time.monotonic() + _BEHIND_SECONDS
            lost = Job("recover", "DEL", job.container, deadline, job.message, head=job.head)
            self._queue.put(lost)

    # --- Periodic work ---------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Watch the workers, refuse calls past their deadline, look for spooled DELs."""
        self.pool.watch(now)
        for job in self._queue.expired(now):
            assert job.connection is not None
            text = b"the call waited too long in the queue: try again"
            self._refuse(job.connection, job.message, job.command, text)
        if self.pool.refusal and not len(self.pool):
            self._refuse_all(plain(f"no worker can be started ({self.pool.refusal}): try again"))
        if now >= self._look_at and not self._stopping:
            self._look_at = now + _SPOOL_SECONDS
            self._look_for_spooled(now)
        self._heal(now)
        if self.minutes is not None and self.minutes.due(now):
            self.minutes.tell(now, self._state())
        self.pump()

    def _state(self) -> dict[str, object]:
        """What a line of the log says of this moment."""
        return {
            "running": self._calls,
            "waiting": len(self._queue),
            "stuckWorkers": len(self.pool.stuck),
            "keptDels": len(self.spool.waiting()),
            "unhealthy": self.unhealthy(),
        }

    def _look_for_spooled(self, now: float) -> None:
        for path in self.spool.due(now):
            if path not in self._replaying:
                self._replaying.add(path)
                deadline = now + _BEHIND_SECONDS
                self._queue.put(Job("replay", "DEL", container_of(path), deadline, path=path))

    def _heal(self, now: float) -> None:
        """Queue a part of healing when it is due and no call waits."""
        if self.healing is None or self._stopping or len(self._queue):
            return
        job = self.healing.job(now, self.generation.settings, self.spool.cni_dirs)
        if job is not None:
            self._queue.put(job)

    def _not_healed(self, job: Job, why: str) -> None:
        if job.kind == "heal" and self.healing is not None:
            self.healing.lost(self.generation.settings, why)

    def keep_no_front(self) -> None:
        """Let the supervisor accept all clients from now on."""
        self._ending = True

    def give_up(self) -> None:
        """Leave all calls to their clients from now on, which do not wait for other workers."""
        self.outdated = True
        self.stop()

    def stop(self) -> None:
        """Begin no call any more: the next daemon has those that wait, and those that come."""
        self._stopping = True
        self._refuse_all(STOPPING)

    def _refuse_all(self, text: bytes) -> None:
        for job in self._queue.drain():
            self._replaying.discard(job.path)
            self._not_healed(job, "no worker")
            if job.connection is not None:
                self._refuse(job.connection, job.message, job.command, text)

    def _answered(self, connection: Connection, command: str, code: str) -> None:
        seconds = time.monotonic() - connection.began
        self._metrics.count(*connection.counted(command, code))
        self._metrics.took(command, seconds)
        if self.minutes is not None:
            self.minutes.answered(command, code, seconds)

    def _refuse(
        self, connection: Connection, message: wire.Received | None, command: str, text: bytes
    ) -> None:
        if text is STOPPING and connection.waits:
            self._metrics.count(*connection.counted(command, "left"))
            connection.leave_to_client()
            return
        self._answered(connection, command, "11")
        if self.dispensable:
            connection.leave_to_client()
            return
        if self.minutes is not None:
            container = message.variable(b"CNI_CONTAINERID") if message is not None else ""
            self.minutes.refused(command, container, text.decode(errors="replace"))
        payload = message.payload if message is not None else b""
        if message is not None and command == "DEL":
            connection.keep(command, wire.decode(message.raw))
        connection.answer_at_once(error_answer(payload, 11, text))

    def close(self) -> None:
        """End every worker; answer the clients of unfinished calls with code 11."""
        self._stopping = True
        late = self._calls
        if late:
            self._log.error("calls did not end in time: their workers are killed", calls=late)
        for worker in self.pool:
            job = worker.job
            if job is not None and job.connection is not None:
                job.connection.answer_at_once(error_answer(job.payload, 11, STOPPING))
        self.pool.close()
