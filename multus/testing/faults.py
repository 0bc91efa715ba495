"""Faults for in-process invokers: messages that the kernel refuses, and processes that are killed.

An invoker of links takes a ``transport``; one of these in its place damages or ends what it does::

    places = [0]
    invoker = Macvlan(Damaging.at(-1, places))      # counts the messages of an ADD
    ...
    invoker = Macvlan(Damaging.at(3))               # the kernel refuses the fourth
    assert dies(lambda: Macvlan(Killing.at(3)).add(invocation))
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from multus.netlink import Transport

if TYPE_CHECKING:
    from socket import socket


class Damaging(Transport):
    """Makes the message at one place, counted over all datagrams, one that the kernel refuses.

    ``places`` counts the messages that were sent, for a test to know how many there are.
    """

    def __init__(self, sock: socket, target: int, places: list[int]) -> None:
        super().__init__(sock)
        self._target = target
        self._places = places

    @classmethod
    def at(cls, target: int, places: list[int] | None = None) -> Callable[[socket], Transport]:
        """What an invoker takes as its ``transport``; a negative *target* damages nothing."""
        shared = [0] if places is None else places
        return lambda sock: cls(sock, target, shared)

    def send(self, messages: Sequence[bytes]) -> None:
        sent = []
        for message in messages:
            if self._places[0] == self._target:
                # A type that rtnetlink does not have; the header's other fields stay.
                message = message[:4] + (0x3FFF).to_bytes(2, "little") + message[6:]
            self._places[0] += 1
            sent.append(message)
        super().send(sent)


class Killing(Damaging):
    """Ends the process, hard, after so many messages have reached the kernel."""

    def send(self, messages: Sequence[bytes]) -> None:
        room = self._target - self._places[0]
        if room < len(messages):
            if room:
                Transport.send(self, messages[:room])
            os.kill(os.getpid(), signal.SIGKILL)
        self._places[0] += len(messages)
        Transport.send(self, messages)


def dies(work: Callable[[], object]) -> bool:
    """Do the work in a process of its own: whether it was killed.

    Raises ``AssertionError`` when the work raised.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False
