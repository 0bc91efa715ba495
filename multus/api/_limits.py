"""The limit on this process's memory, which started programs must not inherit.

A worker of the daemon limits its own data (``RLIMIT_DATA``), so that a plugin with a memory leak
gets a ``MemoryError`` long before the node runs out of memory.  A delegate's binary must not have
this limit: Go's runtime, for instance, reserves far more memory than it uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_own: tuple[int, int] | None = None


def limit_data(extra: int) -> None:
    """Let this process allocate *extra* bytes beyond what it has now, and no more."""
    import resource

    global _own
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

    resource.setrlimit(resource.RLIMIT_DATA, (_own[1], _own[1]))
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
