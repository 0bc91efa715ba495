"""The front worker: one of the idle workers accepts the next client itself.

A call then needs one hop:  client, worker, client.  The supervisor hears of the call after the
worker has started it, and accepts clients itself while the front worker is busy.  There is one
front worker at a time.  Before the supervisor appoints it, it publishes all calls under way on the
board.  So the front worker knows which calls may start now; it hands all others to the supervisor.

From the supervisor: ``{"front": true}``, ``{"front": false}``.  To it: ``{"back": true}`` as the
answer to the second; ``{"begin": …}`` with the client and its message; ``{"handOff": …}`` with a
client for the supervisor.  A worker that accepted a client is no longer the front worker.
"""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING

from multus.cni.shim import SERVE_S
from multus.daemon import wire
from multus.daemon.channel import Channel, Packet
from multus.daemon.listening import may_connect

if TYPE_CHECKING:
    from multus.daemon.board import Board

#: The largest message that a worker takes itself, in bytes.
_LARGEST = 1 << 16


class Front:
    """Where a worker gets jobs: the supervisor's *channel*; the front worker also *listener*."""

    def __init__(self, channel: Channel, listener: socket.socket, board: Board) -> None:
        self.channel = channel
        self._listener = listener
        self._board = board
        self._is_front = False
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._poll.register(listener.fileno(), select.POLLIN)

    def close(self) -> None:
        """Close the channel and the listener."""
        self.channel.close()
        self._listener.close()

    def next(self) -> Packet:
        """Wait for a job; raises ``channel.Closed`` when the supervisor closes the channel."""
        while True:
            if self._is_front:
                ready = {descriptor for descriptor, _ in self._poll.poll()}
                if self.channel.fileno() not in ready:
                    packet = self._accept()
                    if packet is not None:
                        return packet
                    continue
            packet = self.channel.receive()
            if "front" not in packet.head:
                return packet
            if self._is_front and not packet.head["front"]:
                self.channel.send({"back": True})
            self._is_front = packet.head["front"]

    def _accept(self) -> Packet | None:
        """Accept the next client; returns its call when that may start now."""
        try:
            # Another error (no descriptors left, for example) ends this process.  Another worker
            # may succeed.
            peer, _address = self._listener.accept()
        except BlockingIOError:
            return None  # the supervisor accepted it first
        self._is_front = False
        peer.setblocking(False)
        began = time.monotonic()
        message = _message_of(peer)
        if message is None or not self._may_begin(message):
            # Unread: whoever reads a message begins the call, or has a place for it in the queue.
            self.channel.send({"handOff": True, "began": began}, fds=[peer.fileno()])
            peer.close()
            return None
        peer.recv(len(message.raw))
        deadline = began + (message.seconds or SERVE_S)
        said = {"begin": True, "began": began}
        self.channel.send(said, message.raw, [peer.fileno()])
        work = {"kind": "call", "began": began, "deadline": deadline}
        return Packet(work, message.raw, (peer.detach(),))

    def _may_begin(self, message: wire.Received) -> bool:
        if message.kind != wire.CNI:
            return False
        command, container = message.variable(b"CNI_COMMAND"), message.variable(b"CNI_CONTAINERID")
        return self._board.may_begin(command, container)


def _message_of(peer: socket.socket) -> wire.Received | None:
    """A client's message, which stays unread.

    None when it is incomplete, malformed, large, over HTTP, or not allowed: the supervisor finds
    this too.
    """
    if not may_connect(peer)[0]:
        return None
    try:
        return wire.Received(peer.recv(_LARGEST, socket.MSG_PEEK))
    except (OSError, wire.Malformed):
        return None
