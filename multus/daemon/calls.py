"""Calls on their way: a bounded number waits, a bounded number of threads carries them out.

Beyond the bound a call is refused with code 11, and the runtime repeats it: a node that is asked
for more than it can do stays small.  Questions that need no work (VERSION, STATUS, metrics) have
threads of their own, so that a node full of work still answers them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from multus.daemon import wire
from multus.daemon.connection import Connection
from multus.shim import SERVE_S, Answer, error_answer

if TYPE_CHECKING:
    from multus.daemon.metrics import Metrics
    from multus.log import Log

_QUICK = ("VERSION", "STATUS")
_BUSY = b"the multus daemon has as many calls as it takes: try again"
STOPPING = b"the multus daemon is stopping: try again"


class Service(Protocol):
    """What the daemon is for; every method is called by several threads at once."""

    def handle(self, environ: Mapping[str, str], stdin: bytes, deadline: float) -> Answer:
        """Carry a CNI call out; *deadline* is a ``time.monotonic()`` moment."""

    def not_ready(self) -> str:
        """Why no call can be served now; empty when it can.  Must not wait."""

    def reload(self) -> None:
        """Read again what is read at start."""


@frozen
class Limits:
    """``workers`` calls are carried out at a time; ``admitted`` is those and the waiting ones.

    A client has ``message_seconds`` to send its message, and what runs when the daemon is told to
    stop has ``stop_seconds`` to end.
    """

    workers: int = 32
    admitted: int = 1024
    quick_workers: int = 2
    message_seconds: float = 10.0
    stop_seconds: float = 90.0


class Calls:
    """Everything that was asked and is not yet answered.

    *finished* is called after a call, by its thread, once the daemon is stopping.
    """

    def __init__(
        self,
        service: Service,
        metrics: Metrics,
        log: Log,
        limits: Limits,
        finished: Callable[[], None],
    ) -> None:
        self._service = service
        self._metrics = metrics
        self._log = log
        self._limits = limits
        self._finished = finished
        self._lock = threading.Lock()
        self._admitted = self._running = 0
        self._stopping = False
        self._workers = ThreadPoolExecutor(limits.workers, "call")
        self._quick = ThreadPoolExecutor(limits.quick_workers, "quick")

    @property
    def admitted(self) -> int:
        """Calls that wait or are carried out."""
        return self._admitted

    @property
    def waiting(self) -> int:
        """Calls that no thread has taken up yet."""
        return max(0, self._admitted - self._running)

    def start(self, connection: Connection, message: wire.Message) -> None:
        """Let a thread carry the call out and answer it, or refuse it here."""
        command = message.environ.get("CNI_COMMAND", "")
        refusal = self._admit()
        if refusal:
            self._metrics.request("/cni", command, "11", 0.0)
            connection.answer_at_once(error_answer(message.payload, 11, refusal))
            return
        pool = self._quick if command in _QUICK else self._workers
        pool.submit(self._call, connection, message)

    def aside(self, work: Callable[[], object]) -> None:
        """Let a thread of the quick ones do *work*, which must not raise."""
        self._quick.submit(work)

    def stop(self) -> None:
        """Refuse what has not begun."""
        self._stopping = True

    def close(self) -> None:
        """End the threads; waits for what runs only if nothing is late."""
        late = self._admitted
        if late:
            self._log.error("calls did not end in time: they are cut off", calls=late)
        for pool in (self._workers, self._quick):
            pool.shutdown(wait=not late, cancel_futures=True)

    def _admit(self) -> bytes:
        """Count a call in; why not, when it may not."""
        if self._stopping:
            return STOPPING
        with self._lock:
            if self._admitted >= self._limits.admitted:
                return _BUSY
            self._admitted += 1
        return b""

    def _begin(self) -> None:
        with self._lock:
            self._running += 1

    def _release(self) -> None:
        with self._lock:
            self._admitted -= 1
            self._running -= 1
        if self._stopping:
            self._finished()

    # --- In a thread of a pool -------------------------------------------------------------------

    def _call(self, connection: Connection, message: wire.Message) -> None:
        environ = message.environ
        command = environ.get("CNI_COMMAND", "")
        self._begin()
        try:
            answer = self._carry_out(connection, message)
            if answer is None:
                self._log.verbose(f"a client went away before its {command} began")
                connection.close()
                return
            took = time.monotonic() - connection.began
            self._metrics.request("/cni", command, _code(answer), took)
            if not connection.answer(answer):
                self._log.error(
                    f"nobody took the answer to {command}: the runtime has to send DEL",
                    container=environ.get("CNI_CONTAINERID", ""),
                    status=answer[0],
                )
        finally:
            self._release()

    def _carry_out(self, connection: Connection, message: wire.Message) -> Answer | None:
        environ, stdin = message.environ, message.payload
        deadline = connection.began + (message.seconds or SERVE_S)
        if self._stopping:
            return error_answer(stdin, 11, STOPPING)
        if time.monotonic() >= deadline:
            return error_answer(stdin, 11, b"the call waited too long for its turn: try again")
        # Nobody would use what is attached for a client that has gone; a DEL is still wanted.
        if environ.get("CNI_COMMAND") != "DEL" and not connection.is_there():
            return None
        try:
            return self._service.handle(environ, stdin, deadline)
        except Exception as error:  # noqa: BLE001  the thread's last line: the client gets an answer
            self._log.error("internal error", error=error)
            text = f"internal error: {type(error).__name__}: please report it, with the log"
            return error_answer(stdin, 999, text.encode())


def _code(answer: Answer) -> str:
    """The CNI code in an answer, "0" for success."""
    status, stdout = answer
    if status == 0:
        return "0"
    try:
        return str(int(json.loads(stdout)["code"]))
    except (ValueError, KeyError, TypeError):
        return "999"
