"""Between two processes of the daemon: packets of JSON, bytes and descriptors, each whole.

A packet is one datagram of a SOCK_SEQPACKET pair: the length of the JSON (four bytes, the most
significant first), the JSON object, then the bytes.  Bytes that a socket's buffer might not hold
travel in a file in memory, so that a sender never waits for a receiver.
"""

from __future__ import annotations

import json
import os
import socket
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

#: Bytes that go into the datagram itself; the kernel's default buffer has 208 KiB.
_INLINE = 16 << 10
_LARGEST = 64 << 10
#: Room for four descriptors.
_SPACE = socket.CMSG_LEN(4 * array("i").itemsize)
_IN_MEMORY = "inMemory"


class Closed(Exception):
    """The process at the other end has ended."""


@frozen
class Packet:
    """What was received; whoever receives descriptors closes them."""

    head: Mapping[str, Any]
    body: bytes = field(default=b"", repr=False)
    fds: tuple[int, ...] = ()


class Channel:
    """One end of a pair; not for two threads at once."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two ends that are connected; neither is inherited by a started program."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()

    def send(self, head: Mapping[str, Any], body: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send one packet; raises ``Closed``, and ``BlockingIOError`` where that was asked for."""
        own = -1
        if len(body) > _INLINE:
            own = _in_memory(body)
            head, body, fds = {**head, _IN_MEMORY: True}, b"", (*fds, own)
        text = json.dumps(head, separators=(",", ":")).encode()
        parts = [len(text).to_bytes(4, "big"), text, body]
        try:
            if fds:
                socket.send_fds(self.socket, parts, fds)
            else:
                self.socket.sendmsg(parts)
        except BlockingIOError:
            raise
        except OSError as error:
            raise Closed(str(error)) from error
        finally:
            if own >= 0:
                os.close(own)

    def receive(self) -> Packet:
        """Wait for one packet; raises ``Closed`` at the end."""
        try:
            # socket.recv_fds ignores its flags before Python 3.12.
            data, ancillary, _flags, _address = self.socket.recvmsg(
                _LARGEST, _SPACE, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            raise
        except OSError as error:
            raise Closed(str(error)) from error
        if not data:
            raise Closed("the other end is closed")
        end = 4 + int.from_bytes(data[:4], "big")
        head, body, fds = json.loads(data[4:end]), data[end:], _descriptors(ancillary)
        if head.pop(_IN_MEMORY, False):
            body = _read_whole(fds.pop())
        return Packet(head, body, tuple(fds))


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def _in_memory(body: bytes) -> int:
    descriptor = os.memfd_create("multus-message", os.MFD_CLOEXEC)
    with open(os.dup(descriptor), "wb") as file:
        file.write(body)
    return descriptor


def _read_whole(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        file.seek(0)
        return file.read()
