"""The server: one thread that accepts, reads and hands on, until it is told to stop.

It never waits for a client: a slow one costs a buffer, not a thread.
"""

from __future__ import annotations

import errno
import selectors
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from multus.daemon import wire
from multus.daemon.calls import STOPPING, Calls, Limits, Service
from multus.daemon.connection import Connection, Gone
from multus.daemon.listening import may_connect
from multus.daemon.systemd import Notifier
from multus.shim import Answer, error_answer

if TYPE_CHECKING:
    from multus.daemon.metrics import Metrics
    from multus.log import Log

#: Bytes of unfinished messages that are held for all clients together.
_LARGEST_HELD = 64 << 20
_TICK = 0.5


class Server:
    """Serves one listening socket.

    With *shared*, the service manager's: who comes while we stop waits in it for the next daemon.
    """

    def __init__(
        self,
        listener: socket.socket,
        service: Service,
        metrics: Metrics,
        log: Log,
        *,
        limits: Limits | None = None,
        notifier: Notifier | None = None,
        shared: bool = False,
    ) -> None:
        self._listener = listener
        self._shared = shared
        self._service = service
        self._log = log
        self._limits = limits or Limits()
        self._notifier = notifier or Notifier()
        self._calls = Calls(service, metrics, log, self._limits, self._wake)
        self._selector = selectors.DefaultSelector()
        self._reading: dict[int, Connection] = {}
        self._stop_by: float | None = None
        self._reload_wanted = False
        self._last_sweep = self._last_alive = 0.0
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._controls: Mapping[bytes, Callable[[], Answer]] = {
            b"metrics": lambda: (0, metrics.text()),
            b"reload": self._reload,
        }
        calls = self._calls
        metrics.follow(lambda: calls.admitted, lambda: calls.waiting, lambda: len(self._reading))

    # --- From other threads and signal handlers --------------------------------------------------

    def stop(self) -> None:
        """Finish what runs, refuse the rest."""
        if self._stop_by is None:
            self._stop_by = time.monotonic() + self._limits.stop_seconds
            self._calls.stop()
            self._notifier.stopping("finishing the calls that run")
        self._wake()

    def reload(self) -> None:
        """Reload the service soon."""
        self._reload_wanted = True
        self._wake()

    def handle_signals(self) -> None:
        """SIGTERM and SIGINT stop, SIGHUP reloads; for the main thread."""
        signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        signal.signal(signal.SIGHUP, lambda *_: self.reload())

    def _wake(self) -> None:
        try:
            self._wake_out.send(b"x")
        except BlockingIOError:
            return  # it is full of wake-ups

    # --- The loop --------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until stopped, and until what ran then is finished."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._notifier.ready()
        try:
            while not self._finished():
                for key, _ in self._selector.select(_TICK):
                    self._serve(key.fileobj)
                self._tick(time.monotonic())
        finally:
            self._close()

    def _finished(self) -> bool:
        if self._stop_by is None:
            return False
        return not self._calls.admitted or time.monotonic() >= self._stop_by

    def _serve(self, ready: object) -> None:
        if ready is self._listener:
            self._accept()
        elif ready is self._wake_in:
            self._wake_in.recv(4096)
        elif isinstance(ready, socket.socket):
            self._read(self._reading[ready.fileno()])

    def _accept(self) -> None:
        # As many as wait now: a round through the selector costs more than an accept.
        for _ in range(64):
            try:
                peer, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._log.error("cannot accept a connection", error=error)
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    time.sleep(0.05)  # until a worker closes one; the others wait in the backlog
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
            text = b"the multus daemon has as many connections as it takes: try again"
            connection.answer_at_once(error_answer(b"", 11, text))
        else:
            self._reading[connection.socket.fileno()] = connection
            self._selector.register(connection.socket, selectors.EVENT_READ)
            self._read(connection)

    def _read(self, connection: Connection) -> None:
        try:
            message = connection.read()
        except Gone as reason:
            self._log.verbose(f"a client went away {reason}")
            self._forget(connection)
            connection.close()
            return
        except wire.Malformed as reason:
            self._log.error(f"a client sent what is no message: {reason}")
            self._forget(connection)
            text = b"the multus daemon cannot read this message: use the shim of its version"
            connection.answer_at_once(error_answer(b"", 6, text))
            return
        if message is None:
            return
        self._forget(connection)
        if message.kind == wire.CNI:
            self._calls.start(connection, message)
        else:
            self._control(connection, message.payload)

    def _forget(self, connection: Connection) -> None:
        self._selector.unregister(connection.socket)
        del self._reading[connection.socket.fileno()]

    def _control(self, connection: Connection, word: bytes) -> None:
        if word == b"health":
            connection.answer_at_once((0, b"ok\n"))
        elif word == b"ready":
            reason = "the daemon is stopping" if self._stop_by else self._service.not_ready()
            connection.answer_at_once((int(bool(reason)), f"{reason or 'ok'}\n".encode()))
        elif word in self._controls:
            self._calls.aside(lambda: connection.answer(self._controls[word]()))
        else:
            text = b"unknown request: use health, ready, metrics or reload\n"
            connection.answer_at_once((1, text))

    def _tick(self, now: float) -> None:
        if self._stop_by and self._shared:
            self._shared = False
            self._selector.unregister(self._listener)
        if self._reload_wanted:
            self._reload_wanted = False
            self._calls.aside(self._reload)
        if now - self._last_sweep >= _TICK:
            self._last_sweep = now
            self._sweep(now)
        interval = self._notifier.watchdog_seconds / 2
        if interval and now - self._last_alive >= interval:
            self._last_alive = now
            self._notifier.alive()

    def _sweep(self, now: float) -> None:
        """Hang up on the slow, and on whoever sent most when too much is held."""
        unfinished = sorted(self._reading.values(), key=lambda each: -each.held)
        held = sum(each.held for each in unfinished)
        for connection in unfinished:
            too_much = held > _LARGEST_HELD
            if too_much or now - connection.began > self._limits.message_seconds:
                held -= connection.held
                self._log.error("hung up on a client", received=connection.held, memory=too_much)
                self._forget(connection)
                text = b"the message to the multus daemon was not complete in time: try again"
                connection.answer_at_once(error_answer(b"", 11, text))

    def _reload(self) -> Answer:
        self._notifier.reloading()
        try:
            self._service.reload()
        except Exception as error:  # noqa: BLE001  what runs goes on as it was
            self._log.error("cannot reload", error=error)
            return 1, f"{error}\n".encode()
        finally:
            self._notifier.ready()
        return 0, b"ok\n"

    def _close(self) -> None:
        self._selector.close()
        for connection in self._reading.values():
            connection.answer_at_once(error_answer(b"", 11, STOPPING))
        self._calls.close()
