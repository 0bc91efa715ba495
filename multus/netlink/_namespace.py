"""Network namespaces: opened by path, and entered by the calling thread, without a new process.

A socket stays in the namespace of the thread that opened it.  A file in ``/proc/sys/net`` belongs
to the namespace of the thread that opens it.  So a thread enters the namespace, opens what it
needs, and leaves; the other threads do not change namespace.

Source: setns(2), ioctl_ns(2), network_namespaces(7), linux/net_namespace.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from multus.api.errors import KernelRefused, UnknownContainer
from multus.netlink import wire
from multus.netlink._channel import NETLINK_ROUTE, Channel, Transport, open_channel
from multus.netlink.wire import Message

if TYPE_CHECKING:
    import socket as sockets

_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703
_OWN = "/proc/thread-self/ns/net"

_RTM_GETNSID = 90
_NETNSA_NSID, _NETNSA_FD = 1, 3
_NOT_ASSIGNED = -1
#: ``rtgenmsg``: the family, padded.
_RTGENMSG = struct.Struct("=Bxxx")

#: What the kernel says of a path at which there is nothing that can be opened.  Anything else, such
#: as a full table of files or a missing right, says nothing about the namespace.
_ABSENT = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ESRCH,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENXIO,
        errno.ENODEV,
    }
)

_T = TypeVar("_T")

if sys.version_info >= (3, 12):

    def _setns(fd: int) -> None:
        os.setns(fd, _CLONE_NEWNET)

    def _unshare() -> None:
        os.unshare(_CLONE_NEWNET)

else:
    import ctypes

    _LIBC = ctypes.CDLL(None, use_errno=True)

    def _setns(fd: int) -> None:
        if _LIBC.setns(fd, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def _unshare() -> None:
        if _LIBC.unshare(_CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


class NamespaceGone(UnknownContainer):
    """There is no network namespace at this path (any more)."""


class Namespace:
    """A network namespace, held by a descriptor: it exists at least until this object is closed.

    ``path`` is where it was opened, ``fd`` its descriptor (close-on-exec).  ``inode`` and
    ``device`` identify it: two paths are the same namespace when both are equal.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = _open(path)
        status = os.fstat(self.fd)
        self.inode = status.st_ino
        self.device = status.st_dev

    @classmethod
    def current(cls) -> Namespace:
        """The calling thread's own namespace."""
        return cls(_OWN)

    def __enter__(self) -> Namespace:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor; closing twice is allowed."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def is_own(self) -> bool:
        """Whether the calling thread is in this namespace (a pod on the host's network)."""
        status = os.stat(_OWN)
        return (status.st_ino, status.st_dev) == (self.inode, self.device)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run the ``with`` block with the calling thread in this namespace.

        When the thread cannot return to its own namespace, the process is ended: the thread would
        otherwise serve other pods in the wrong namespace.
        """
        with _elsewhere(lambda: _setns(self.fd), f"enter the network namespace {self.path}"):
            yield

    def run(self, function: Callable[[], _T]) -> _T:
        """Call the function with the calling thread in this namespace, and return its result."""
        with self.entered():
            return function()

    def socket(self, family: int, kind: int, protocol: int = 0) -> sockets.socket:
        """A socket of this namespace."""
        import socket as sockets

        with self.entered():
            return sockets.socket(family, kind | sockets.SOCK_CLOEXEC, protocol)

    def channel(
        self,
        protocol: int = NETLINK_ROUTE,
        transport: Callable[[sockets.socket], Transport] = Transport,
    ) -> Channel:
        """A netlink socket of this namespace; ``transport`` is for tests that inject faults."""
        with self.entered():
            return open_channel(protocol, transport)

    def id_in(self, channel: Channel) -> int | None:
        """The kernel's id of this namespace in the channel's, as in `Link.peer_namespace`.

        None when no link of the channel's namespace has ever led here.
        """
        body = _RTGENMSG.pack(0) + wire.u32(_NETNSA_FD, self.fd)
        words = f"ask for the id of the network namespace {self.path}"
        asked = Message(_RTM_GETNSID, 0, body, words, acknowledged=True, replies=True)
        (reply,) = channel.request([asked])
        found = wire.first(reply or b"", _RTGENMSG.size, _NETNSA_NSID)
        number = _NOT_ASSIGNED if found is None else wire.read_i32(found)
        return None if number == _NOT_ASSIGNED else number


@contextmanager
def empty_namespace() -> Iterator[None]:
    """Run the ``with`` block with the calling thread in a new namespace, which ends with it.

    Raises ``KernelRefused`` when this process may not create one.
    """
    with _elsewhere(_unshare, "create a network namespace"):
        yield


@contextmanager
def _elsewhere(leave: Callable[[], None], words: str) -> Iterator[None]:
    """Return to the thread's own namespace after *leave*, which *words* describe."""
    back = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            leave()
        except OSError as error:
            raise KernelRefused(f"cannot {words}: {error.strerror}") from error
        try:
            yield
        finally:
            _return(back)
    finally:
        os.close(back)


def is_namespace(path: str) -> bool:
    """Whether there is a network namespace at this path, or something that cannot be opened."""
    try:
        os.close(_open(path))
    except NamespaceGone:
        return False
    except KernelRefused:
        pass
    return True


def _open(path: str) -> int:
    try:
        # When a namespace is unmounted, a plain file stays.  O_NONBLOCK: the path may also be a
        # FIFO, and opening one must not block.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise KernelRefused(
                f"cannot open the network namespace at {path}: {error.strerror}"
            ) from error
        raise NamespaceGone(
            f"no network namespace at {path}: {error.strerror}; the container is gone, or its "
            "runtime gave a wrong path"
        ) from error
    try:
        kind = fcntl.ioctl(fd, _NS_GET_NSTYPE)
    except OSError:
        kind = 0
    if kind != _CLONE_NEWNET:
        os.close(fd)
        raise NamespaceGone(f"{path} is not a network namespace; it may have been unmounted")
    return fd


def _return(back: int) -> None:
    try:
        _setns(back)
    except OSError as error:
        os.write(2, f"multus: a thread is stuck in a network namespace: {error}\n".encode())
        os.abort()
