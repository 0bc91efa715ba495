"""Fault injection: errors of an API server, or of the network in front of it."""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

#: ``status``: a Status error; ``reset``: RST before the answer; ``truncate``: half a body;
#: ``slow``: the request waits ``seconds``; ``held``: it waits for ``released``; ``drip``: a byte
#: every ``seconds``; ``garbage``: 200 with a body that is not JSON.
KINDS = ("status", "reset", "truncate", "slow", "held", "drip", "garbage")


@frozen
class Fault:
    """A fault for requests whose method and path match the patterns.

    ``times`` is the number of requests; 0 means all until :meth:`Faults.clear`.
    """

    kind: str
    path: str = "*"
    method: str = "*"
    times: int = 1
    code: int = 500
    reason: str = "InternalError"
    message: str = "injected fault"
    retry_after: str = ""
    seconds: float = 0.0
    released: threading.Event = field(factory=threading.Event, init=False, eq=False, repr=False)

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Fault:
        return cls(**wire)

    def wait(self, stopping: threading.Event) -> None:
        """Wait as the request has to, at most until the stand-in stops."""
        if self.kind == "slow":
            stopping.wait(self.seconds)
        while self.kind == "held" and not stopping.is_set() and not self.released.is_set():
            self.released.wait(0.05)


@frozen
class Faults:
    """The active faults; the first one that matches a request applies."""

    _orders: list[list[Any]] = field(factory=list)
    _lock: Any = field(factory=threading.Lock)

    def add(self, fault: Fault) -> None:
        if fault.kind not in KINDS:
            raise ValueError(f"unknown fault {fault.kind!r}: use one of {', '.join(KINDS)}")
        with self._lock:
            self._orders.append([fault, fault.times])

    def clear(self) -> None:
        with self._lock:
            self._orders.clear()

    def take(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for order in self._orders:
                fault: Fault = order[0]
                if not fnmatch.fnmatchcase(path, fault.path):
                    continue
                if not fnmatch.fnmatchcase(method, fault.method):
                    continue
                order[1] -= 1
                if order[1] == 0:
                    self._orders.remove(order)
                return fault
        return None
