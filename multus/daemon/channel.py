"""The channel between two processes of the daemon: packets of JSON, bytes and descriptors.

A packet is one datagram of a SOCK_SEQPACKET pair: the length of the JSON (four bytes, big-endian),
the JSON object, then the bytes.  A packet that may be too large for the socket's buffer goes
through a memfd, so that the sender never waits for the receiver.

A plugin can write to any descriptor of its worker, so a received datagram may hold anything.  A
malformed one closes the connection, as the end of the other process does.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from multus.api.errors import CNIError

#: Largest packet sent in a datagram, in bytes; the kernel's default buffer has 208 KiB.
_INLINE = 16 << 10
_LARGEST = 64 << 10
#: Largest packet, which goes through a memfd: a call's message and a head, in bytes.
_LARGEST_FILE = 16 << 20
#: Room for four descriptors.
_SPACE = socket.CMSG_LEN(4 * array("i").itemsize)
#: Marks a packet that is in a memfd, the last descriptor: no packet has this length.
_IN_MEMORY = b"\xff\xff\xff\xff"


class Closed(Exception):
    """The process at the other end has ended."""


class TooLarge(CNIError):
    """The packet was not sent: the other end would not read one of its size."""


@frozen
class Packet:
    """A received packet; the receiver has to close the descriptors."""

    head: Mapping[str, Any]
    body: bytes = field(default=b"", repr=False)
    fds: tuple[int, ...] = ()


class Channel:
    """One end of a pair; not thread-safe."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends; both are close-on-exec."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()

    def send(self, head: Mapping[str, Any], body: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send one packet.

        Raises ``Closed``; ``TooLarge``; ``BlockingIOError`` or ``TimeoutError``, depending on the
        socket's timeout; another ``OSError`` when this process has no descriptors or no memory
        left.
        """
        text = encoded(head)
        parts, own = [len(text).to_bytes(4, "big"), text, body], -1
        size = 4 + len(text) + len(body)
        if size > _LARGEST_FILE:
            raise TooLarge(
                f"a packet of {size} bytes is larger than {_LARGEST_FILE}, which is the most that a"
                " process of the daemon reads",
                fix="make the request smaller",
            )
        if size > _INLINE + 4:
            own = _in_memory(parts)
            parts, fds = [_IN_MEMORY], (*fds, own)
        try:
            if fds:
                socket.send_fds(self.socket, parts, fds)
            else:
                self.socket.sendmsg(parts)
        except (BlockingIOError, TimeoutError):
            raise
        except OSError as error:
            raise Closed(str(error)) from error
        finally:
            if own >= 0:
                os.close(own)

    def receive(self) -> Packet:
        """Wait for one packet.

        Raises ``Closed`` at the end, and for a malformed packet; ``BlockingIOError`` or
        ``TimeoutError``, depending on the socket's timeout.
        """
        try:
            # socket.recv_fds ignores its flags before Python 3.12.
            data, ancillary, _flags, _address = self.socket.recvmsg(
                _LARGEST, _SPACE, socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, TimeoutError):
            raise
        except OSError as error:
            raise Closed(str(error)) from error
        if not data:
            raise Closed("the other end is closed")
        fds = _descriptors(ancillary)
        try:
            if data == _IN_MEMORY:
                data = _read_whole(fds[-1])
                os.close(fds.pop())
            end = 4 + int.from_bytes(data[:4], "big")
            head = json.loads(data[4:end])
            if len(data) < end or not isinstance(head, dict):
                raise ValueError("it is truncated, or its head is not an object")
        except (ValueError, IndexError, OSError, RecursionError) as error:
            for descriptor in fds:
                os.close(descriptor)
            raise Closed(f"malformed packet: {error}") from error
        return Packet(head, data[end:], tuple(fds))


def encoded(head: Mapping[str, Any]) -> bytes:
    """*head* as it is sent."""
    return json.dumps(head, separators=(",", ":")).encode()


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def _in_memory(parts: Sequence[bytes]) -> int:
    descriptor = os.memfd_create("multus-message", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.writelines(parts)
    return descriptor


def _read_whole(descriptor: int) -> bytes:
    """The bytes of a memfd; reading any other kind of file might block, or never end."""
    with open(descriptor, "rb", closefd=False) as file:
        fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)  # fails if it is not a memfd
        file.seek(0)
        data = file.read(_LARGEST_FILE + 1)
    if len(data) > _LARGEST_FILE:
        raise ValueError(f"it has more than {_LARGEST_FILE} bytes")
    return data
