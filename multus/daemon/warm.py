"""A warm engine: the daemon on a node that has none, left behind by a call (``multus.cni.warm``).

Supervisor, template and workers are the daemon's, and so is the protocol.  What differs:

- It ends when no call came for a while, and when what is installed has changed.  Its socket goes
  first, and no call is refused: one that comes too late is carried out in place by its shim.
- A call finds its own caller's environment in its process, and no log stays open after it.
- It follows no API server and keeps no credentials: a call asks the server itself, as without it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from multus.cni.warm import FAILED, LOCK
from multus.daemon.listening import hold
from multus.daemon.service import Service
from multus.daemon.settings import Settings
from multus.log import Log
from multus.registry.index import stamp

if TYPE_CHECKING:
    from multus.daemon.board import Board
    from multus.daemon.connection import Connection
    from multus.daemon.remote import RemoteApi

#: The function that makes the workers' service, as ``module:function``.
SERVICE = "multus.daemon.warm:service_of"
_JOURNAL = "/run/systemd/journal/stdout"
#: The limits of its own log, where the node has no journal: it lies in memory.
_SMALL = {"maxSize": 1, "maxBackups": 1, "compress": False}


def main(given: Mapping[str, Any]) -> None:
    """Serve until idle; *given* is what ``multus.cni.warm`` passes.  The lock is descriptor 3."""
    _leave_the_caller()
    hold(LOCK)
    path = given["socket"]
    os.environ["MULTUS_SOCKET"] = path
    _log_to_the_journal()
    keys = {**_own_log(path), **given["conf"]}
    try:
        from multus.daemon import main as daemon

        settings = Settings.of(keys, "the warm engine", os.environ)
        daemon.serve(settings, warm=daemon.Warm(given["seconds"], LOCK, SERVICE))
    except Exception as error:  # noqa: BLE001  without a note, each call would try again
        os.ftruncate(LOCK, 0)
        os.pwrite(LOCK, FAILED + f"{error}\n".encode(), 0)
        Log.from_conf(keys).error("a warm engine cannot start", error=error)


def _leave_the_caller() -> None:
    """Keep nothing of the caller but its control group, whose limits hold for its calls."""
    os.chdir("/")
    os.umask(0o022)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > LOCK:
            with contextlib.suppress(OSError):
                os.close(int(name))
    os.set_inheritable(LOCK, False)
    with open("/proc/self/comm", "w") as comm:
        comm.write("multus-warm")
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) is signal.SIG_IGN and number != signal.SIGPIPE:
            signal.signal(number, signal.SIG_DFL)
    # The runtime's own score may be that of a process which is never killed.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as score:
        if int(score.read()) < 0:
            score.write("0")


def _log_to_the_journal() -> None:
    """Make standard error the node's journal, if it has one."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as journal:
        journal.connect(_JOURNAL)
        # Identifier, unit, priority, whether lines have one, and three kinds of forwarding.
        journal.sendall(b"multus\n\n6\n0\n0\n0\n0\n")
        os.dup2(journal.fileno(), 2)


def _own_log(path: str) -> dict[str, Any]:
    """The log's keys where a configuration has none: a small file, if there is no journal."""
    if stat.S_ISSOCK(os.fstat(2).st_mode):
        return {"logToStderr": True}
    return {"logFile": f"{path}.log", "logOptions": _SMALL, "logToStderr": False}


class WarmService(Service):
    """Carries out calls as a process of each caller's own would."""

    def __init__(self, settings: Settings, log: Log, api_path: str, board: Board) -> None:
        before = stamp(())
        super().__init__(settings, log, api_path, board)
        self._stamp = stamp(self._entries)
        self._mixed = self._stamp[: len(before)] != before

    @property
    def outdated(self) -> bool:
        """Whether something was installed since the plugins were loaded."""
        return self._mixed or stamp(self._entries) != self._stamp

    def leaves(self, client: Connection) -> bool:
        """Whether *client* carries its call out itself: it has given up waiting, or must.

        A client that gave up has shut down its end before it began.  This process may have been
        stopped since it read the message; so this is asked after that, and for DEL as well: a DEL
        that comes late would remove what a later ADD of the container attached.
        """
        return self.outdated or not client.is_there()

    @contextlib.contextmanager
    def serving(self, environ: Mapping[str, str]) -> Iterator[None]:
        """Have the caller's environment, and close the logs afterwards."""
        before = dict(os.environ)
        _exchange_environment(environ)
        try:
            with super().serving(environ):
                yield
        finally:
            _exchange_environment(before)
            self.report.cni_dir = ""  # each call removes what is left under its own
            for each in (self.log, *self._logs.values()):
                each.close()

    def _api_of(self, kubeconfig: object) -> RemoteApi | None:
        return None

    def _log_for(self, raw: Mapping[str, Any]) -> Log:
        # The daemon's own log would be the first caller's.
        return super()._log_for({**_own_log(self._settings.socket), **raw})


def _exchange_environment(environ: Mapping[str, str]) -> None:
    for name in os.environ.keys() - environ.keys():
        del os.environ[name]
    for name, value in environ.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def service_of(settings: Settings, log: Log, api_path: str, board: Board) -> WarmService:
    """The service of a warm engine."""
    service = WarmService(settings, log, api_path, board)
    service.log_faults()
    log.close()
    return service
