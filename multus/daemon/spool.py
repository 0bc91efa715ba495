"""DELs that came while no daemon ran: kept by the shims under ``cniDir``, carried out here.

``<cniDir>/.spool/<nanoseconds>.<container>`` is one message of ``multus.daemon.wire``, written by
rename, so it is whole or not there.  A file goes when its DEL succeeded, and not before: one that
fails is tried again, ever more rarely.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from multus.daemon import wire
from multus.errors import StateDamaged
from multus.shim import Answer

if TYPE_CHECKING:
    from multus.daemon.metrics import Metrics
    from multus.log import Log

#: Carries a CNI call out: environment, stdin, deadline.
Handle = Callable[[Mapping[str, str], bytes, float], Answer]

FOLDER = ".spool"
#: A file that is no message is kept under this name, for people.
_DAMAGED = ".damaged-"
_PATIENCE = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0
_TICK_NS = 50_000_000


class Spool:
    """The spool under one ``cniDir``; its methods may be called by any thread."""

    def __init__(self, cni_dir: str, handle: Handle, metrics: Metrics, log: Log) -> None:
        self.folder = os.path.join(cni_dir, FOLDER)
        self._handle = handle
        self._metrics = metrics
        self._log = log
        # One replay at a time: DELs of one container have to stay in order.
        self._lock = threading.Lock()
        self._pauses: dict[str, tuple[float, float]] = {}
        self._seen = -1

    def waiting(self) -> list[str]:
        """The names of the files that wait, the oldest first."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._log.error(f"cannot list {self.folder}", error=error)
            return []
        return sorted(name for name in names if not name.startswith("."))

    def replay(self, until: float) -> None:
        """Carry out what is due, stopping at the ``time.monotonic()`` moment *until*."""
        with self._lock:
            for name in self.waiting():
                now = time.monotonic()
                if now >= until:
                    return
                if self._pauses.get(name, (0.0, 0.0))[0] <= now:
                    self._replay(name)

    def replay_of(self, container_id: str) -> None:
        """Carry out, now, what waits for one container: a later call must not overtake it."""
        if not self._changed():
            return
        with self._lock:
            waiting = self.waiting()
            for name in waiting:
                if name.partition(".")[2] == container_id:
                    self._replay(name)

    def _changed(self) -> bool:
        """Whether there may be files; costs one system call when there are none."""
        try:
            moment = os.stat(self.folder).st_mtime_ns
        except OSError:
            return False
        if moment == self._seen or self.waiting():
            return moment != self._seen
        # A file made within the clock's tick would leave the folder's time as it is.
        if time.time_ns() - moment > _TICK_NS:
            self._seen = moment
        return False

    def _replay(self, name: str) -> None:
        try:
            message = wire.decode(self._read(name))
        except FileNotFoundError:
            return
        except (wire.Malformed, StateDamaged) as reason:
            self._set_aside(name, str(reason))
            return
        except OSError as error:
            self._put_off(name, str(error))
            return
        environ = message.environ
        status, stdout = self._handle(environ, message.payload, time.monotonic() + _PATIENCE)
        container = environ.get("CNI_CONTAINERID", "")
        if status:
            self._put_off(name, stdout.decode(errors="replace").strip())
            return
        try:
            os.unlink(os.path.join(self.folder, name))
        except OSError as error:
            self._put_off(name, str(error))  # a DEL may be repeated
            return
        self._pauses.pop(name, None)
        self._metrics.replayed("done")
        self._log.verbose("carried out a spooled DEL", container=container)

    def _read(self, name: str) -> bytes:
        """The file's bytes, if it can only have been written by us."""
        # Opening what is no file must not wait: a pipe without a writer would.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(os.path.join(self.folder, name), flags)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise StateDamaged("it is a symbolic link") from error
            raise
        try:
            for found in (os.fstat(descriptor), os.stat(self.folder)):
                if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
                    raise StateDamaged("others could have written it")
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StateDamaged("it is no regular file")
            return _whole(descriptor)
        finally:
            os.close(descriptor)

    def _put_off(self, name: str, reason: str) -> None:
        pause = min(2 * self._pauses.get(name, (0.0, _FIRST_PAUSE / 2))[1], _LONGEST_PAUSE)
        self._pauses[name] = (time.monotonic() + pause, pause)
        self._metrics.replayed("failed")
        self._log.error(
            "a spooled DEL failed and is tried again", file=name, seconds=pause, error=reason
        )

    def _set_aside(self, name: str, reason: str) -> None:
        self._metrics.replayed("malformed")
        self._log.error(f"{name} is no spooled DEL: it is kept as {_DAMAGED}{name}", reason=reason)
        try:
            old, new = (os.path.join(self.folder, each) for each in (name, _DAMAGED + name))
            os.rename(old, new)
        except OSError as error:
            self._log.error(f"cannot rename {name}", error=error)


def _whole(descriptor: int) -> bytes:
    """All of a file, but no more than a message can have."""
    data = b""
    limit = wire.HEADER + wire.LARGEST + wire.LARGEST_ENVIRONMENT + 1
    while len(data) < limit and (chunk := os.read(descriptor, limit - len(data))):
        data += chunk
    return data
