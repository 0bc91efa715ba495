"""The warm engines of this node: found by their locks, and ended."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import select
import signal
import time
from collections.abc import Iterator

from attrs import frozen

from multus.api.errors import IOFailure
from multus.cni.shim import SOCKET
from multus.cni.warm import FAILED

#: How long an engine may take to end before it is killed, and to start; between two looks at its
#: lock; seconds.
_PATIENCE, _LOOK_EVERY = 10.0, 0.02
_LOCK = ".lock"


@frozen
class Found:
    """An engine by its socket: its process, -1 while it starts, 0 when none runs.

    ``failure`` is why the last one did not start, if it did not.
    """

    socket: str
    process: int
    failure: str = ""


def folder() -> str:
    """The folder of the sockets: the daemon's."""
    return os.path.dirname(os.environ.get("MULTUS_SOCKET") or os.fsdecode(SOCKET))


def found(where: str) -> list[Found]:
    """The engines whose sockets are in the folder *where*, also those that are starting."""
    locks = sorted(glob.glob(os.path.join(glob.escape(where), f"warm.*{_LOCK}")))
    return [each for each in map(_of, locks) if each is not None]


def _of(lock: str) -> Found | None:
    path = lock.removesuffix(_LOCK)
    try:
        with open(lock, "rb") as file:
            said = file.read(4096)
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return Found(path, int(said) if said.strip().isdigit() else -1)
    except OSError:
        return None
    failed = said.removeprefix(FAILED).decode(errors="replace").strip()
    return Found(path, 0, failed if said.startswith(FAILED) else "")


def end(where: str) -> Iterator[str]:
    """End every engine, and remove what is left of those that were killed; yields messages.

    Raises ``IOFailure`` when an engine cannot be ended.
    """
    for each in found(where):
        if each.process:
            _end(each)
            yield f"ended the warm engine at {each.socket}"
        for name in (each.socket, f"{each.socket}{_LOCK}", f"{each.socket}.log"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def tidy(where: str) -> Iterator[str]:
    """Remove what a daemon and ended engines have left in the folder *where*; yields messages.

    A daemon that runs keeps its files.
    """
    logs = glob.glob(os.path.join(glob.escape(where), "warm.*.log"))
    held = {f"{each.socket}.log" for each in found(where) if each.process}
    for path in logs:
        if path not in held:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    lock = os.path.join(where, f"{os.path.basename(os.fsdecode(SOCKET))}{_LOCK}")
    if not _unlinked(lock):
        yield f"{lock} stays: a daemon runs; end it first"
    with contextlib.suppress(OSError):
        os.rmdir(where)  # not empty: a daemon, or the service manager's socket


def _unlinked(lock: str) -> bool:
    """Remove the lock; False while a process holds it, also one that starts now."""
    try:
        with open(lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(lock)
    except BlockingIOError:
        return False
    except OSError:
        return True  # there is none
    return True


def _end(engine: Found) -> None:
    """End the engine, as soon as it has written its process into the lock."""
    lock, until = f"{engine.socket}{_LOCK}", time.monotonic() + 3 * _PATIENCE
    while time.monotonic() < until:
        now = _of(lock)
        if now is None or not now.process:
            return
        if now.process > 0:
            _stop(now)
        time.sleep(_LOOK_EVERY)
    raise IOFailure(f"a process holds {lock} and does not end", fix=f"end it: fuser {lock}")


def _stop(engine: Found) -> None:
    """Tell the process to end, wait for it, and kill it when it takes too long."""
    try:
        handle = os.pidfd_open(engine.process)
    except ProcessLookupError:
        return
    with select.epoll() as ended:
        ended.register(handle, select.EPOLLIN)
        for number in (signal.SIGTERM, signal.SIGKILL):
            # While the lock names the process, its number cannot be another one's.
            if _of(f"{engine.socket}{_LOCK}") == engine:
                signal.pidfd_send_signal(handle, number)
            if ended.poll(_PATIENCE):
                break
    os.close(handle)
