"""The supervisor: one thread that accepts clients, reads messages and queues calls, until SIGTERM.

It never blocks on a client or a worker, and never parses a configuration.  A slow client costs a
buffer, a worker that hangs costs a process.
"""

from __future__ import annotations

import errno
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from multus.cni.shim import Answer, error_answer
from multus.daemon import wire
from multus.daemon.calls import STOPPING, Calls
from multus.daemon.connection import Connection, Gone, OverHTTP, Served
from multus.daemon.generations import Generations
from multus.daemon.listening import may_connect
from multus.daemon.loop import Loop
from multus.daemon.settings import Limits
from multus.daemon.systemd import Notifier

if TYPE_CHECKING:
    from multus.daemon.leaving import Leaving
    from multus.daemon.metrics import Metrics
    from multus.daemon.pageprocess import PageProcess
    from multus.log import Log

#: Limit of unfinished messages of all clients together, in bytes.
_LARGEST_HELD = 64 << 20
#: Interval between two checks of clients; of workers while there are calls; in seconds.
_TICK, _WATCH = 0.5, 0.1
#: Pause after an error that may repeat at once, in seconds.
_PAUSE = 0.05
#: Timeout for sending the answer to a control request, in seconds.
_TAKING = 1.0


class Server:
    """Serves one listening socket.

    With *shared*, it is the service manager's: clients that connect while this daemon stops wait in
    its backlog for the next daemon.
    """

    def __init__(
        self,
        listener: socket.socket,
        loop: Loop,
        calls: Calls,
        generations: Generations,
        metrics: Metrics,
        log: Log,
        *,
        limits: Limits | None = None,
        notifier: Notifier | None = None,
        shared: bool = False,
        leaving: Leaving | None = None,
        page: PageProcess | None = None,
    ) -> None:
        self._listener = listener
        self._shared = shared
        self._leaving = leaving
        self._page = page
        self._loop = loop
        self._calls = calls
        self._generations = generations
        self._metrics = metrics
        self._log = log
        self._limits = limits or Limits()
        self._notifier = notifier or Notifier()
        self._reading: dict[int, Connection] = {}
        self._stop_by: float | None = None
        self._reload_wanted = False
        self._last_sweep = self._last_alive = 0.0
        self._controls: Mapping[bytes, Callable[[], Answer]] = {
            b"health": lambda: self._said(calls.unhealthy()),
            b"ready": lambda: self._said(self._not_ready()),
            b"metrics": lambda: (0, metrics.text()),
            b"workers": self._workers,
        }
        self._is_listening = False
        calls.listen = self._listen_to_clients
        calls.take_over = self._begin

    @property
    def sending(self) -> int:
        """How many connections have not sent their whole message."""
        return len(self._reading)

    # --- From other threads and signal handlers --------------------------------------------------

    def stop(self) -> None:
        """Finish the running calls, refuse all others."""
        if self._stop_by is None:
            self._stop_by = time.monotonic() + self._limits.stop_seconds
            if self._leaving is not None:
                self._leaving.begin(time.monotonic())
            self._notifier.stopping("finishing the calls that run")
        self._loop.wake()

    def reload(self) -> None:
        """Read the settings again soon."""
        self._reload_wanted = True
        self._loop.wake()

    def handle_signals(self) -> None:
        """SIGTERM and SIGINT stop, SIGHUP reloads; for the main thread."""
        signal.set_wakeup_fd(self._loop.wakeup, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        signal.signal(signal.SIGHUP, lambda *_: self.reload())

    # --- The loop --------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until ``stop`` was called and the running calls have ended."""
        self._listen_to_clients(True)
        self._notifier.ready()
        try:
            while not self._finished():
                try:
                    self._loop.turn(_WATCH if self._calls.admitted else _TICK)
                    self._tick(time.monotonic())
                except Exception as error:  # noqa: BLE001  all pods of the node depend on this loop
                    self._log.error("internal error in the supervisor", error=error)
                    time.sleep(_PAUSE)
        finally:
            self._close()

    def _finished(self) -> bool:
        now = time.monotonic()
        if self._leaving is not None and self._leaving.over(now):
            if self._stop_by is None:
                self._stop_by = now + self._limits.stop_seconds
            self._accept()
            return (self._calls.quiet and not self._reading) or now >= self._stop_by
        if self._stop_by is None or self._leaving is not None:
            return False
        return self._calls.quiet or time.monotonic() >= self._stop_by

    def _listen_to_clients(self, wanted: bool) -> None:
        """Accept clients or not; a stopping daemon leaves a shared socket's clients to the next."""
        wanted = wanted and not (self._stop_by is not None and self._shared)
        if wanted != self._is_listening:
            self._is_listening = wanted
            if wanted:
                self._loop.add(self._listener, self._accept)
            else:
                self._loop.remove(self._listener)

    def _accept(self) -> None:
        # Accept up to 64 in one turn: a turn of the selector costs more than an accept.
        for _ in range(64):
            try:
                peer, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._log.error("cannot accept a connection", error=error)
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    time.sleep(_PAUSE)  # a descriptor may be free then; clients wait in the backlog
                return
            self._begin(Connection(peer, time.monotonic()))

    def _begin(self, connection: Connection) -> None:
        connection.socket.setblocking(False)
        allowed, uid = may_connect(connection.socket)
        if not allowed:
            self._log.error("refused a connection", uid=uid)
            text = b"permission denied: only root may use the multus daemon"
            connection.answer_at_once(error_answer(b"", 5, text))
        elif len(self._reading) >= 2 * self._limits.admitted:
            text = b"the multus daemon has reached its limit of connections: try again"
            connection.answer_at_once(error_answer(b"", 11, text))
        else:
            # Most messages are complete already: adding the client to the loop costs two system
            # calls.
            self._read(connection)

    def _read(self, connection: Connection) -> None:
        try:
            message = connection.read()
        except OverHTTP:
            from multus.daemon.httpconnection import HTTPConnection

            self._forget(connection)
            self._read(HTTPConnection(connection))
            return
        except Served as served:
            self._log.verbose(f"answered over HTTP without a call: {served}")
            self._forget(connection)
            self._metrics.count(*served.counted)
            connection.send(served.response)
            return
        except Gone as reason:
            self._log.verbose(f"a client disconnected before its message was complete: {reason}")
            self._forget(connection)
            connection.close()
            return
        except wire.Malformed as reason:
            self._log.error(f"malformed message: {reason}")
            self._forget(connection)
            text = b"the multus daemon cannot read this message: use the shim of its version"
            connection.answer_at_once(error_answer(b"", 6, text))
            return
        if message is None:
            self._listen(connection)
            return
        self._forget(connection)
        if message.kind == wire.CNI:
            self._calls.start(connection, message)
        else:
            self._control(connection, message.payload)

    def _listen(self, connection: Connection) -> None:
        if connection.socket.fileno() not in self._reading:
            self._reading[connection.socket.fileno()] = connection
            self._loop.add(connection.socket, lambda: self._read(connection))

    def _forget(self, connection: Connection) -> None:
        if self._reading.pop(connection.socket.fileno(), None) is not None:
            self._loop.remove(connection.socket)

    def _control(self, connection: Connection, word: bytes) -> None:
        if word == b"reload":
            self._reload(connection)
        elif word in self._controls:
            # Answers fit into a socket's buffer, except for very many metrics.
            answer = self._controls[word]()
            connection.answer(answer, _TAKING)
            counted = connection.counted_control(answer)
            if counted is not None:
                self._metrics.count(*counted)
        else:
            text = b"unknown request: use health, ready, metrics, workers or reload\n"
            connection.answer_at_once((1, text))

    def _said(self, reason: str) -> Answer:
        """The answer to a health question: status 1 and *reason*, or 0 when it is empty."""
        well = "ok" if self._leaving is None else self._leaving.described()
        return int(bool(reason)), f"{reason or well}\n".encode()

    def _workers(self) -> Answer:
        """One line for each worker: its current step and how long it has taken."""
        now = time.monotonic()
        return 0, "".join(f"{each.described(now)}\n" for each in self._calls.pool).encode()

    def _not_ready(self) -> str:
        if self._stop_by:
            return "the daemon is stopping"
        return self._calls.unhealthy() or self._generations.not_ready()

    def _tick(self, now: float) -> None:
        if self._leaving is not None:
            self._leaving.tick(now, self._calls)
            self._log.close()  # an idle engine keeps no file system busy
        elif self._stop_by:
            self._calls.stop()
            if self._shared:
                self._listen_to_clients(False)
        if self._reload_wanted:
            self._reload_wanted = False
            self._reload(None)
        self._generations.tick(now)
        self._calls.tick(now)
        if self._page is not None and not self._stop_by:
            self._page.tick(now)
        if now - self._last_sweep >= _TICK:
            self._last_sweep = now
            self._sweep(now)
        interval = self._notifier.watchdog_seconds / 2
        if interval and now - self._last_alive >= interval and not self._calls.unhealthy():
            self._last_alive = now
            self._notifier.alive()

    def _sweep(self, now: float) -> None:
        """Disconnect slow clients; above the memory limit, also those that have sent most."""
        unfinished = sorted(self._reading.values(), key=lambda each: -each.held)
        held = sum(each.held for each in unfinished)
        for connection in unfinished:
            too_much = held > _LARGEST_HELD
            if too_much or now - connection.began > self._limits.message_seconds:
                held -= connection.held
                why = "too much memory" if too_much else "its message took too long"
                self._log.error(f"disconnected a client: {why}", received=connection.held)
                self._forget(connection)
                text = b"the message to the multus daemon was not complete in time: try again"
                connection.answer_at_once(error_answer(b"", 11, text))

    def _reload(self, connection: Connection | None) -> None:
        if self._leaving is not None:
            self._leaving.begin(time.monotonic())  # the next call leaves another engine
            if connection is not None:
                connection.answer_at_once((0, b"ok\n"))
            return
        self._notifier.reloading()

        def ended(failure: str) -> None:
            self._notifier.ready()
            if connection is not None:
                connection.answer_at_once((int(bool(failure)), f"{failure or 'ok'}\n".encode()))

        self._generations.reload(ended)

    def _close(self) -> None:
        for connection in self._reading.values():
            connection.answer_at_once(error_answer(b"", 11, STOPPING))
        self._calls.close()
