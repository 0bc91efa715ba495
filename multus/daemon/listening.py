"""The daemon's listening socket: its lock, its mode, and which peers may connect.

A client can run programs as root.  So the socket is 0600, in a folder that only its owner can write
to, and the daemon also checks the credentials of every peer.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from multus.api.errors import IOFailure

#: Connections that wait to be accepted; the kernel's own limit is net.core.somaxconn.
BACKLOG = 4096
_LOOK_EVERY = 0.2


@contextmanager
def listening(
    path: str,
    inherited: socket.socket | None = None,
    waiting: Callable[[str], None] = lambda _: None,
    link: str = "",
    lock: int = -1,
) -> Iterator[socket.socket]:
    """A non-blocking listening socket at *path*, under a lock that other daemons respect.

    *inherited* is a socket that the service manager opened; it stays when the daemon ends.  *link*
    becomes a link to *path*, and stays too.  *lock* is the lock's descriptor when it is held
    already; its file goes with the socket.  A program without the lock that serves one of the two
    is waited for, and *waiting* is told so.  Raises ``IOFailure`` when another daemon serves
    *path*, or when others can write to a folder.
    """
    with ExitStack() as undo:
        _safe_folder(os.path.dirname(path))
        if lock < 0:
            undo.callback(os.close, _locked(f"{path}.lock"))
        else:
            undo.callback(os.close, lock)
            undo.callback(_remove, f"{path}.lock")
            hold(lock)
        if link:
            _link(link, path, waiting)
        if inherited is not None:
            undo.enter_context(inherited)
            inherited.setblocking(False)
            yield inherited
            return
        own = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        _outlast(path, waiting)
        _bind(own, path)
        undo.callback(_remove, path)
        own.listen(BACKLOG)
        own.setblocking(False)
        yield own


def _link(path: str, target: str, waiting: Callable[[str], None]) -> None:
    """Make *path* a link to the socket *target*, when no program serves *path*."""
    _safe_folder(os.path.dirname(path))
    with contextlib.suppress(OSError):
        if os.readlink(path) == target:
            return
    _outlast(path, waiting)
    new = f"{path}.new"
    try:
        _remove(new)  # a daemon that was killed in between left it
        os.symlink(target, new)
        os.replace(new, path)
    except OSError as error:
        raise IOFailure(f"cannot make the link {path}: {error.strerror}") from error


def may_connect(peer: socket.socket) -> tuple[bool, int]:
    """Whether the peer is allowed (root, or the daemon's user), and its user ID."""
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", raw)
    return uid in (0, os.geteuid()), uid


def _safe_folder(folder: str) -> None:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        found = os.stat(folder)
    except OSError as error:
        raise IOFailure(f"cannot make the socket's folder {folder}: {error.strerror}") from error
    if found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid()):
        raise IOFailure(
            f"the socket's folder {folder} can be written to by others",
            fix="make it 0700",
        )


def _locked(path: str) -> int:
    """Take a lock that the kernel frees with this process; returns its descriptor."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        lock = os.open(path, flags, 0o600)
    except OSError as error:
        raise IOFailure(f"cannot open the lock {path}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise IOFailure(
            f"another daemon (process {holder}) holds {path}",
            fix="stop it first, or give this one another socket with MULTUS_SOCKET",
        ) from None
    hold(lock)
    return lock


def hold(lock: int) -> None:
    """Write into the lock which process holds it."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _outlast(path: str, waiting: Callable[[str], None]) -> None:
    """Wait until no program serves *path*.

    The Go Multus' daemon takes no lock, and removes the file at its path when it ends, whoever's
    it is by then.
    """
    told = False
    while _is_served(path):
        if not told:
            told = True
            waiting(f"another program serves {path}, the Go Multus' daemon for instance: waiting")
        time.sleep(_LOOK_EVERY)


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:
            return True  # its queue is full
        except OSError:
            return False
    return True


def _bind(own: socket.socket, path: str) -> None:
    if _is_stale(path):
        _remove(path)
    # The socket must have its mode when it appears, and only the umask sets the mode in bind().
    # The daemon has no other threads yet.
    before = os.umask(0o177)
    try:
        own.bind(path)
    except OSError as error:
        reason = "the path is too long" if error.errno is None else error.strerror
        if error.errno == errno.EADDRINUSE:
            reason = "a file that is not a socket has this path: remove it"
        raise IOFailure(f"cannot listen at {path}: {reason}") from error
    finally:
        os.umask(before)


def _is_stale(path: str) -> bool:
    """Whether *path* is a socket, or a link to one or to nothing.

    This daemon holds the lock.  So the socket was left by a daemon that died, and a link also by
    one that had another 'socketLinkDir'.
    """
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return os.path.islink(path)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
