"""Leaves a warm engine behind: the daemon's processes, for the next calls on a node without one.

A process for one call calls ``leave`` after its answer is written, and ends.  The engine
(``multus.daemon.warm``) serves at the socket that the shim looks for, and ends when it is idle.
An engine is a convenience: whatever prevents it, the call that would leave it has succeeded.

The engine's lock, ``<socket>.lock``, settles which of several processes leaves one.  It is taken
here and inherited, so that the others start nothing.  It holds the engine's process, or why it did
not start.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time

from multus.api import keys
from multus.api.errors import CNIError
from multus.api.reader import Reader
from multus.api.spelling import spelled
from multus.cni.shim import inherited

#: How an engine says in its lock that it cannot start; no other is left for so many seconds.
FAILED, PAUSE_S = b"cannot start: ", 60.0
#: The descriptor of the lock in the engine.
LOCK = 3
_PROGRAM = (
    "import json, sys; given = json.loads(sys.argv[1]); sys.path[:] = given['path'];"
    "from multus.daemon.warm import main; main(given)"
)
_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def leave(path: str, stdin: bytes) -> None:
    """Leave an engine at the socket *path* after a call with *stdin*; never raises."""
    try:
        if os.geteuid() != 0 or not _sees_the_nodes_mounts():
            return
        lock = _locked(path)
        if lock >= 0:
            _start(path, _conf(stdin), lock)
    except (OSError, ValueError, CNIError):
        return


def _conf(stdin: bytes) -> dict[str, object]:
    """The keys of the call's configuration that the engine's own work needs."""
    conf = spelled(json.loads(stdin), keys.OWN_SPELLING)
    wanted = {key.top for key in (keys.WARM_SECONDS, keys.CNI_DIR, *keys.LOG)}
    return {key: value for key, value in conf.items() if key in wanted}


def _sees_the_nodes_mounts() -> bool:
    """Whether this process is in the mount namespace of process 1.

    An engine elsewhere would keep the mounts of a container that has ended.  No mount
    has the same number in two namespaces.
    """
    numbers = []
    for process in ("1", "self"):
        with open(f"/proc/{process}/mountinfo", "rb") as mounts:
            numbers.append(mounts.readline().split()[0])
    return numbers[0] == numbers[1]


def _locked(path: str) -> int:
    """A descriptor of the engine's lock; -1 when there is an engine, or none can start now."""
    name = f"{path}.lock"
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    lock = os.open(name, flags, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    ours, named = os.fstat(lock), os.stat(name)
    if ours.st_ino != named.st_ino:
        return -1  # of an engine that has just ended
    failed = os.pread(lock, len(FAILED), 0) == FAILED
    if failed and time.time() - ours.st_mtime < PAUSE_S:
        return -1
    # Until the engine has started, the lock must not name an earlier one that was killed: its
    # number may be another process's by now.
    os.ftruncate(lock, 0)
    return lock


def _start(path: str, conf: dict[str, object], lock: int) -> None:
    seconds = keys.WARM_SECONDS.read(Reader(conf, "the network configuration on stdin"))
    conf.pop(keys.WARM_SECONDS.name, None)
    given = {"path": sys.path, "socket": path, "seconds": seconds, "conf": conf}
    isolated = ["-I"] if sys.flags.isolated else []
    arguments = [sys.executable, *isolated, "-c", _PROGRAM, json.dumps(given)]
    # The duplicate is not LOCK itself, which would be closed at the start of the program.
    held = fcntl.fcntl(lock, fcntl.F_DUPFD_CLOEXEC, LOCK + 1)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_DUP2, 0, 2),
        (os.POSIX_SPAWN_DUP2, held, LOCK),
    ]
    environ = {b"PATH": _FOLDERS.encode(), **inherited(os.environb)}
    os.posix_spawn(
        sys.executable, arguments, environ, file_actions=actions, setsid=True, setsigmask=[]
    )
