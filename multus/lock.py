"""One command at a time for a container, and for whatever still works on it.

The lock is a ``flock`` on a file under ``cniDir``.  The kernel frees it when its last holder ends,
so one whose process died is free; started delegates inherit the descriptor, so one that outlived a
killed parent still holds it, and the next DEL does not race it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from multus.errors import IOFailure, TryAgainLater

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1


@contextmanager
def container_lock(folder: str, container_id: str, patience: float) -> Iterator[int]:
    """Hold the lock of a container under *folder*; yields its descriptor.

    Waits at most *patience* seconds, then raises ``TryAgainLater``.
    """
    path = os.path.join(folder, f":{container_id}")
    descriptor = _acquire(path, container_id, time.monotonic() + patience)
    try:
        yield descriptor
    finally:
        # Under the lock, so that whoever waits finds a file without a name and opens anew.
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        finally:
            os.close(descriptor)


def _acquire(path: str, container_id: str, deadline: float) -> int:
    pause = _FIRST_PAUSE
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise IOFailure(f"cannot lock {path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise TryAgainLater(
                    f"container {container_id} is busy with another command, or with a delegate"
                    f" that outlived one (lock {path}): try again"
                ) from None
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
