"""The limit on this process's memory, which started programs must not inherit.

A worker of the daemon limits its own data (``RLIMIT_DATA``), so that a plugin with a memory leak
gets a ``MemoryError`` long before the node runs out of memory.  A delegate's binary must not have
this limit: Go's runtime needs 96 MiB to start.  In a container with a memory limit it has another
one, since the kubelet lets the whole container be killed when its memory runs out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_own: tuple[int, int] | None = None
_programs: int | None = None


def limit_data(extra: int, programs: int | None = None) -> None:
    """Let this process allocate *extra* bytes beyond what it has now, and no more.

    *programs* is how many bytes each program that it starts may allocate; None: without a limit.
    """
    import resource

    global _own, _programs
    _programs = programs
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    wanted = _data_bytes() + extra
    _own = (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
    resource.setrlimit(resource.RLIMIT_DATA, _own)


@contextmanager
def lifted() -> Iterator[None]:
    """Processes started inside the ``with`` block do not inherit this process's limit."""
    if _own is None:
        yield
        return
    import resource

    hard = _own[1]
    theirs = hard if _programs is None else _programs
    if hard != resource.RLIM_INFINITY:
        theirs = min(theirs, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (theirs, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, _own)


def _data_bytes() -> int:
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"VmData:"):
                return int(line.split()[1]) << 10
    return 0
