"""A node that is read again when something has changed, and only when somebody asks.

The kernel says when a link or an address changes, here or in a namespace of a pod.  What the events
say does not matter: the node is read again as a whole, so that a lost event costs nothing.  The
journal and the trace are files, whose times are compared.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from contextlib import suppress

from multus.picture.page import Seen
from multus.picture.reading import read
from multus.picture.requests import last

_GROUPS = 0x1 | 0x10 | 0x100 | 0x40 | 0x400  # RTMGRP_LINK, IPV4_IFADDR, IPV6_IFADDR, routes of both
_SOL_NETLINK, _NETLINK_LISTEN_ALL_NSID = 270, 8
#: The node is not read more often than this, and not less often while somebody asks, in seconds.
#: Nobody says when the last interface of a namespace that is gone was removed with it.
_SOONEST, _LATEST = 1.0, 15.0

#: So many are taken at a time: who asks is answered in between.
_MOST_EVENTS = 256

#: The names, times and sizes of the files that a picture is made from.
_Files = tuple[tuple[str, int, int], ...]


class Following:
    """Follows the node whose records are in *cni_dir*; *name* is the node's, for the title."""

    def __init__(self, cni_dir: str, name: str = "") -> None:
        self._cni_dir, self._name = cni_dir, name
        self._seen: Seen | None = None
        self._files: _Files = ()
        self._read_at = 0.0
        self._changed = False
        self._events = _events()

    def fileno(self) -> int:
        """What becomes readable when the kernel has an event: call ``changed`` then."""
        return self._events.fileno()

    def changed(self) -> None:
        """Take the events, and remember that there were some."""
        self._changed = True
        for _ in range(_MOST_EVENTS):
            try:
                self._events.recv(65536)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # some were lost, which says the same
                    raise

    def look(self) -> Seen:
        """The node, read again when it has changed."""
        age = time.monotonic() - self._read_at
        if self._seen is not None and age < _SOONEST:
            return self._seen
        files = _files(self._cni_dir)
        if self._seen is None or self._changed or files != self._files or age > _LATEST:
            self._changed = False
            self._files = files
            unread: list[str] = []
            requests = last(self._cni_dir, unread)
            self._seen = Seen(read(self._cni_dir, self._name), requests, tuple(unread))
            self._read_at = time.monotonic()
        return self._seen

    def close(self) -> None:
        self._events.close()


def _events() -> socket.socket:
    """A socket with the kernel's events of this namespace, and of those that it has links to."""
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    events = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
    with suppress(OSError):  # without the right: changes inside of pods are seen later
        events.setsockopt(_SOL_NETLINK, _NETLINK_LISTEN_ALL_NSID, 1)
    events.bind((0, _GROUPS))
    return events


def _files(cni_dir: str) -> _Files:
    found = []
    with suppress(OSError), os.scandir(cni_dir) as entries:
        for each in entries:
            with suppress(OSError):
                status = each.stat(follow_symlinks=False)
                found.append((each.name, status.st_mtime_ns, status.st_size))
    with suppress(OSError):
        status = os.stat(f"{cni_dir}.trace")
        found.append((".trace", status.st_mtime_ns, status.st_size))
    return tuple(sorted(found))
