"""Sends responses, complete or broken by a fault."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from typing import Any

from multus.testing.apiserver.faults import Fault
from multus.testing.apiserver.state import State
from multus.testing.apiserver.store import compact_json


class Answering(BaseHTTPRequestHandler):
    """The responses of a connection; each server has a subclass that sets ``api``."""

    api: State
    protocol_version = "HTTP/1.1"
    # Without Nagle's algorithm, whose delay would distort measurements of small responses.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: standard error belongs to the tests."""

    def _send(
        self,
        status: int,
        wire: dict[str, Any],
        fault: Fault | None = None,
        retry_after: str = "",
    ) -> None:
        self._send_bytes(status, compact_json(wire), "application/json", fault, retry_after)

    def _send_bytes(
        self,
        status: int,
        body: bytes,
        content_type: str,
        fault: Fault | None = None,
        retry_after: str = "",
    ) -> None:
        self.api.answers[self.command, self.path.partition("?")[0], status] += 1
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if retry_after:
            self.send_header("Retry-After", retry_after)
        if fault and fault.kind in ("truncate", "drip"):
            self.end_headers()
            self._send_badly(body, fault)
            return
        # A single write: a separate segment for the header would cost a delayed ACK.
        self._headers_buffer.append(b"\r\n" + body)  # type: ignore[attr-defined]
        self.flush_headers()

    def _chunk(self, line: bytes) -> None:
        """Send a part of an answer whose length is not known."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))

    def _send_badly(self, body: bytes, fault: Fault) -> None:
        self.close_connection = True
        if fault.kind == "truncate":
            self.wfile.write(body[: len(body) // 2])
            return
        for byte in body:
            self.wfile.write(bytes([byte]))
            self.api.stopping.wait(fault.seconds)
