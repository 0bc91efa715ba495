"""Which descriptors a test has opened, whatever the process's other threads do meanwhile.

Threads and garbage of earlier tests and the test runner open and close descriptors at any moment:
the number of all descriptors says nothing about one test.
"""

from __future__ import annotations

import os
import resource
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from waiting import becomes

#: A descriptor's number with the device, the inode and the mode of its file: another thread may be
#: given the same number for another file.
Held = tuple[int, int, int, int]


def held() -> set[Held]:
    """The descriptors that this process has open."""
    found = set()
    for number in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # closed by now, as the descriptor of the folder itself
            status = os.fstat(number)
            found.add((number, status.st_dev, status.st_ino, status.st_mode))
    return found


@contextmanager
def all_closed() -> Iterator[None]:
    """Fails unless every descriptor that is opened within the block is closed.

    What another thread opens meanwhile and closes again is waited for.
    """
    before = held()
    yield
    becomes(lambda: held() - before, set())


def copies(number: int) -> int:
    """How many descriptors of this process have the file of *number*, itself included.

    Exact at once for a file that nothing else opens: a socket, a pipe, a temporary file.
    """
    status = os.fstat(number)
    return sum(each[1:3] == (status.st_dev, status.st_ino) for each in held())


def connections_to(port: int) -> int:
    """How many IPv4 connections of this process lead to *port*."""
    count = 0
    for number, _, _, mode in held():
        if stat.S_ISSOCK(mode):
            with suppress(OSError), socket.socket(fileno=os.dup(number)) as found:
                count += found.family == socket.AF_INET and found.getpeername()[1] == port
    return count


@contextmanager
def none_left() -> Iterator[None]:
    """This process may open nothing more inside the block."""
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
