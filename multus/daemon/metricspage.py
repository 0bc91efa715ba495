"""The metrics over HTTP at one address, for a scraper on this node or in the cluster.

Anyone who reaches the address may connect, so the cost of clients is bounded
(`multus.serving.clients`), and the text is generated at most once a second.

No call waits for the metrics: an address that cannot be bound is logged, and tried again.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import h11

from multus.api.errors import IOFailure, described
from multus.serving.clients import MOST, Clients, as_bytes

if TYPE_CHECKING:
    from multus.log import Log

_SECONDS = 2.0
_FRESH = 1.0
#: Pause between two attempts to bind the address, in seconds.
_AGAIN = 10.0
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def shown(address: str, port: int) -> str:
    """The address as it stands in a URL."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class MetricsPage:
    """Serves the result of *text* over HTTP, in its own thread.

    *address* is one of this node, or ``0.0.0.0`` or ``::`` for all.  ``bound`` is the port, 0 as
    long as the address cannot be bound.
    """

    def __init__(self, address: str, port: int, text: Callable[[], bytes], log: Log) -> None:
        self._address, self._port = address, port
        self._text = text
        self._log = log
        self.bound = 0
        self._made, self._made_at = (200, b""), float("-inf")
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)

    def start(self) -> None:
        """Start the thread; raises ``IOFailure`` when that fails."""
        try:
            self._thread.start()
        except RuntimeError as error:
            raise IOFailure(f"cannot serve the metrics: {error}") from error

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_SECONDS)

    def _listen(self) -> socket.socket | None:
        """A socket that listens; tries until it succeeds; None when the page was closed before."""
        told = ""
        while not self._closing.is_set():
            # A new one for each attempt: one that is bound and cannot listen is never bound again.
            listener = socket.socket(socket.AF_INET6 if ":" in self._address else socket.AF_INET)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if listener.family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                listener.setblocking(False)
                listener.bind((self._address, self._port))
                listener.listen(MOST)
            except OSError as error:
                listener.close()
                where = shown(self._address, self._port)
                said = f"cannot serve the metrics at {where}: {error.strerror}: tried again"
                if said != told:
                    told = said
                    fix = "give 'metricsPort' another number, or 'metricsAddress' another address"
                    self._log.error(said, fix=fix)
                self._closing.wait(_AGAIN)
            else:
                self.bound = listener.getsockname()[1]
                return listener
        return None

    def _serve(self) -> None:
        listener = self._listen()
        if listener is None:
            return
        with listener:
            clients = Clients(listener, self._answer, _SECONDS)
            while not self._closing.is_set():
                clients.turn()
            clients.close()

    def _answer(self, http: h11.Connection, request: h11.Request) -> bytes:
        now = time.monotonic()
        if now - self._made_at > _FRESH:
            self._made, self._made_at = self._make(), now
        status, text = self._made
        headers = [("Content-Type", _TYPE), ("Content-Length", str(len(text)))]
        return as_bytes(http, status, headers, b"" if request.method == b"HEAD" else text)

    def _make(self) -> tuple[int, bytes]:
        try:
            return 200, self._text()
        except Exception as error:  # noqa: BLE001  the thread has to serve the next scrape
            return 500, f"the metrics cannot be read: {described(error)}\n".encode()
