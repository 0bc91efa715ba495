"""Send batches of messages to the kernel, and read its answer to each.

The kernel processes the messages of a datagram in order, during ``send``.  A message that fails
does not stop the ones after it.  So every answer is read: the kernel always answers a refused
message, and the acknowledgement of (or reply to) the last rtnetlink message ends the answers.  (An
nftables batch is answered as a whole, at its end; there every message is acknowledged.)

Source: net/netlink/af_netlink.c (``netlink_rcv_skb``), net/netfilter/nfnetlink.c, linux/netlink.h.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from multus.api.errors import KernelRefused
from multus.netlink import wire
from multus.netlink._socket import socket
from multus.netlink.wire import Answer, Message

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12

# Every acknowledgement takes 768 bytes of the receive buffer until it is read.  The default buffer
# has 208 KiB, and the kernel drops an acknowledgement that does not fit.
_MESSAGES_A_DATAGRAM = 128
# The send buffer's default is 208 KiB for the socket buffer and its book-keeping.
_BYTES_A_DATAGRAM = 96 * 1024
# A batch of nftables cannot be divided: there, the buffer has room for thousands of rules.
_BATCH_BYTES = 4 * 1024 * 1024
_SO_SNDBUFFORCE = 32
_RECEIVE_BYTES = 64 * 1024
_SECONDS_TO_ANSWER = 10
_DUMP_ATTEMPTS = 5


#: What to do, by words of the kernel's explanation.
_FIXES = {
    "IPv6 is disabled": "set the sysctl disable_ipv6 of that interface and of net.ipv6.conf.default"
    " to 0, or give the network IPv4 addresses alone",
    "mtu less than device minimum": "use a larger 'mtu'",
    "mtu greater than device maximum": "use a smaller 'mtu'",
}


class Refused(KernelRefused):
    """The kernel refused a message of a batch.

    ``errno`` is the kernel's (positive), ``position`` counts from 0 in the batch, ``message`` is
    the refused one.  ``refusals`` lists all refusals of this batch, this one first.
    """

    def __init__(self, message: Message, position: int, number: int, explained: str) -> None:
        name = errno.errorcode.get(number, str(number))
        said = explained or os.strerror(number)
        usual = "it needs the capability NET_ADMIN, as root has it" if number == errno.EPERM else ""
        fix = next((each for words, each in _FIXES.items() if words in explained), usual)
        super().__init__(f"cannot {message.words}: {said} ({name})", fix=fix)
        self.message = message
        self.position = position
        self.errno = number
        self.refusals: tuple[Refused, ...] = (self,)


class Transport:
    """Sends datagrams to the kernel and receives answers; tests replace it to inject faults.

    A test's subclass overrides ``send``: it may damage a message, send only some, or raise.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def send(self, messages: Sequence[bytes]) -> None:
        """Send these encoded messages to the kernel as one datagram."""
        self._socket.send(b"".join(messages))

    def receive(self) -> bytes:
        """The next answer: one or more messages.  Raises ``BlockingIOError`` on a time-out."""
        return self._socket.recv(_RECEIVE_BYTES)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Channel:
    """A netlink socket.  It stays in the namespace where it was opened.  It is not thread-safe.

    Get one from `Namespace.channel`.
    """

    def __init__(self, transport: Transport, protocol: int = NETLINK_ROUTE) -> None:
        self._transport = transport
        self._in_order = protocol == NETLINK_ROUTE
        self._sequence = 0

    def __enter__(self) -> Channel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; closing twice is allowed."""
        self._transport.close()

    def request(self, messages: Sequence[Message], *, whole: bool = False) -> list[bytes | None]:
        """Send these messages in as few datagrams as the kernel takes, and read every answer.

        With *whole* they are one datagram, as a batch of nftables has to be.  No more than some 200
        of it may be acknowledged.

        Returns for each message the body of the kernel's reply, or None for an acknowledgement.
        Raises `Refused` for the first refused message; the kernel still tried the ones after it.
        """
        replies: list[bytes | None] = []
        refusals: list[Refused] = []
        for chunk in [messages] if whole else _datagrams(messages):
            self._exchange(chunk, replies, refusals)
        if refusals:
            first = refusals[0]
            first.add_details(*(refused.said for refused in refusals[1:]))
            first.refusals = tuple(refusals)
            raise first
        return replies

    def _exchange(
        self, chunk: Sequence[Message], replies: list[bytes | None], refusals: list[Refused]
    ) -> None:
        offset, last = len(replies), len(chunk) - 1
        first = self._sequence + 1
        self._sequence += len(chunk)
        replies.extend([None] * len(chunk))
        quiet = range(last) if self._in_order else ()
        encoded = [each.encode(first + at, quiet=at in quiet) for at, each in enumerate(chunk)]
        self._send(encoded, chunk)
        missing = 1 if self._in_order else sum(message.acknowledged for message in chunk)
        while missing > 0:
            for answer in self._receive(chunk[0]):
                at = answer.sequence - first
                if not 0 <= at <= last:
                    continue
                if answer.kind != wire.NLMSG_ERROR:
                    replies[offset + at] = answer.body
                    missing -= chunk[at].replies and at not in quiet
                    continue
                if at not in quiet:
                    # After the end of a batch is refused, the kernel may not answer the rest.
                    missing -= 1 if chunk[at].acknowledged else len(chunk)
                number = -wire.read_i32(answer.body)
                if number and number not in chunk[at].expected:
                    explained = wire.explanation(answer)
                    refusals.append(Refused(chunk[at], offset + at, number, explained))

    def dump(self, message: Message) -> list[bytes]:
        """Send one message as a dump; returns the bodies of all answers.

        A dump that the kernel reports as inconsistent (something changed meanwhile) is repeated.
        """
        asked = Message(message.kind, message.flags | wire.NLM_F_DUMP, message.body, message.words)
        for _attempt in range(_DUMP_ATTEMPTS):
            bodies = self._dump_once(asked)
            if bodies is not None:
                return bodies
        raise Refused(asked, 0, errno.EINTR, "the list changes faster than it can be read")

    def _dump_once(self, asked: Message) -> list[bytes] | None:
        self._sequence += 1
        sequence = self._sequence
        self._send([asked.encode(sequence)], [asked])
        bodies: list[bytes] = []
        interrupted = False
        while True:
            for answer in self._receive(asked):
                if answer.sequence != sequence:
                    continue
                interrupted = interrupted or bool(answer.flags & wire.NLM_F_DUMP_INTR)
                if answer.kind in (wire.NLMSG_ERROR, wire.NLMSG_DONE):
                    number = -wire.read_i32(answer.body) if len(answer.body) >= 4 else 0
                    if number:
                        raise Refused(asked, 0, number, wire.explanation(answer))
                    return None if interrupted else bodies
                bodies.append(answer.body)

    def _send(self, encoded: Sequence[bytes], messages: Sequence[Message]) -> None:
        try:
            self._transport.send(encoded)
        except OSError as error:
            raise Refused(messages[0], 0, error.errno or errno.EIO, "") from error

    def _receive(self, about: Message) -> Iterator[Answer]:
        try:
            datagram = self._transport.receive()
        except BlockingIOError as error:
            said = f"the kernel did not answer within {_SECONDS_TO_ANSWER} s"
            raise Refused(about, 0, errno.ETIMEDOUT, said) from error
        except OSError as error:
            raise Refused(about, 0, error.errno or errno.EIO, "") from error
        return wire.split(datagram)


def _datagrams(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    start, size = 0, 0
    for at, message in enumerate(messages):
        length = wire.HEADER_SIZE + len(message.body) + 3
        if at > start and (at - start >= _MESSAGES_A_DATAGRAM or size + length > _BYTES_A_DATAGRAM):
            yield messages[start:at]
            start, size = at, 0
        size += length
    if start < len(messages):
        yield messages[start:]


def _widen(sock: socket.socket) -> None:
    # In a user namespace the default has to do, which is enough for hundreds of rules.
    with contextlib.suppress(PermissionError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BATCH_BYTES)


def open_channel(
    protocol: int = NETLINK_ROUTE, transport: Callable[[socket.socket], Transport] = Transport
) -> Channel:
    """A channel in the calling thread's network namespace."""
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise KernelRefused(f"cannot open a netlink socket: {error.strerror}") from error
    try:
        sock.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        sock.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        if protocol == NETLINK_ROUTE:
            sock.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        else:
            _widen(sock)
        seconds = struct.pack("@ll", _SECONDS_TO_ANSWER, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
    except OSError as error:
        sock.close()
        raise KernelRefused(f"cannot set up a netlink socket: {error.strerror}") from error
    return Channel(transport(sock), protocol)
