"""A minimal service manager, which restarts the daemon."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from attrs import define, field
from reliability.cgroup import Cgroup
from reliability.processes import family_of

from integration.daemon.node import Daemon

#: The watchdog's timeout, in seconds: a daemon that sends no sign of life is restarted.
WATCHDOG = 20


@define
class Manager:
    """A service manager: restarts the daemon when it ends, or sends no signs of life.

    Source: systemd.service(5), ``Restart=always`` and ``WatchdogSec``.
    """

    daemon: Daemon
    cgroup: Cgroup
    site: Path
    restarts: int = 0
    _ended: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None
    _channel: socket.socket = field(
        factory=lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    )

    def start(self) -> None:
        self.daemon.folder.mkdir(parents=True, exist_ok=True)
        self._channel.bind(str(self._address))
        self._channel.settimeout(0.05)
        self._spawn()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Kill the daemon and all its descendants."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._channel.close()
        self._kill()
        self._address.unlink()

    def serves(self, seconds: float) -> bool:
        """Whether ``health`` is ok within *seconds*."""
        end = time.monotonic() + seconds
        while self.daemon.control("health") != (0, "ok\n"):
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    @property
    def _address(self) -> Path:
        return self.daemon.folder / "notify"

    def _spawn(self) -> None:
        watched = {"NOTIFY_SOCKET": str(self._address), "WATCHDOG_USEC": str(WATCHDOG * 1_000_000)}
        self.daemon.spawn(PYTHONPATH=str(self.site), **watched)
        self.cgroup.put(self.daemon.pid)

    def _watch(self) -> None:
        alive = time.monotonic()
        while not self._ended.is_set():
            with suppress(TimeoutError):
                self._channel.recv(4096)
                alive = time.monotonic()
            process = self.daemon.process
            late = time.monotonic() - alive > WATCHDOG
            if late or process is None or process.poll() is not None:
                self._kill()
                self.restarts += 1
                self._spawn()
                alive = time.monotonic()

    def _kill(self) -> None:
        if self.daemon.process is not None:
            # Parents first, so that no parent replaces a killed child.
            for pid in family_of(self.daemon.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.daemon.process.wait()
            self.daemon.process = None
            self.cgroup.kill()
