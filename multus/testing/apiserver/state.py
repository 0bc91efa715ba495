"""The state that the connections of one stand-in share, and that tests set and read."""

from __future__ import annotations

import threading
from collections import Counter
from email.message import Message
from typing import Any

from multus.testing.apiserver.access import Access
from multus.testing.apiserver.execution import Container
from multus.testing.apiserver.faults import Faults
from multus.testing.apiserver.store import Kind, Store


class State:
    """The objects, the faults, and the counted requests.

    ``requests`` counts ``(method, path)``, ``answers`` the same with the status, ``connections``
    the TLS connections; ``forbidden`` holds
    pairs such as ``("get", "pods")`` or ``("patch", "pods/status")`` that are answered with 403;
    ``containers`` are those in which ``exec`` runs commands, by namespace, pod and container;
    ``last_headers`` are those of the last request.  The values in ``odd`` are sent unchanged in
    every list, and once in each watch.
    """

    def __init__(self, kinds: tuple[Kind, ...], bookmark_seconds: float) -> None:
        self.store = Store(kinds)
        self.faults = Faults()
        self.requests: Counter[tuple[str, str]] = Counter()
        self.answers: Counter[tuple[str, str, int]] = Counter()
        self.forbidden: set[tuple[str, str]] = set()
        self.odd: list[Any] = []
        self.containers: dict[tuple[str, str, str], Container] = {}
        self.connections = 0
        self.last_headers = Message()
        self.access = Access()
        self.bookmark_seconds = bookmark_seconds
        self.gone_as_status = False
        self.generation = 0
        self.stopping = threading.Event()
