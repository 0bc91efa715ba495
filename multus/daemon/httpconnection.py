"""A client that speaks HTTP: the supervisor reads its request without blocking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h11

from multus.cni.shim import Answer
from multus.daemon import overhttp, wire
from multus.daemon.connection import Connection, Counted, Gone, Served
from multus.daemon.overhttp import CNI, DELEGATE, HEALTH, READY, Answering, Refused, response

#: What is read in one turn of the loop, in bytes: other clients come in between.
_CHUNK = 1 << 14
_TEXT = "text/plain; charset=utf-8"
_CALLS, _STATES = (CNI, DELEGATE), (HEALTH, READY)


class HTTPConnection(Answering):
    """The supervisor's end; *before* is the connection whose first bytes are HTTP."""

    def __init__(self, before: Connection) -> None:
        super().__init__(before.socket, before.began, before.data)
        self._http = h11.Connection(h11.SERVER)
        self._http.receive_data(before.data)
        self._data.clear()
        self._method = ""
        self._body: list[bytes] = []
        self._size = 0
        self._attributes: Mapping[str, Any] = {}

    @property
    def held(self) -> int:
        return self._size

    @property
    def head(self) -> Mapping[str, Any]:
        return {"http": self.path, "attributes": self._attributes}

    def read(self) -> wire.Received | None:
        """Read what has arrived; returns the request as a message once it is complete.

        Raises ``Gone``, and ``Served`` for a request that needs no call.
        """
        try:
            message = self._events()
            if message is None:
                self._receive()
                message = self._events()
            return message
        except h11.ProtocolError as error:
            raise self._served(400, f"malformed request: {error}") from error
        except (Refused, wire.Malformed) as error:
            raise self._served(400, f"the body cannot be read: {error}") from error
        except ValueError as error:
            raise self._served(400, f"the request cannot be read: {error}") from error

    def encoded(self, answer: Answer) -> bytes:
        if self.path in _CALLS:
            return super().encoded(answer)
        status, text = answer
        # The Go Multus' shim drops a DEL when this says anything else: as long as the daemon
        # answers it can take one.
        failed = bool(status) and self.path == READY
        return response(500 if failed else 200, text if failed else b"")

    def counted_control(self, answer: Answer) -> Counted:
        failed = bool(answer[0]) and self.path == READY
        return Counted(self.path, _method(self._method), "500" if failed else "200")

    def _receive(self) -> None:
        try:
            chunk = self.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            raise Gone(str(error)) from error
        if not chunk:
            raise Gone(f"after {self.held} bytes")
        self._http.receive_data(chunk)

    def _events(self) -> wire.Received | None:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._say_continue()
                return None
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data):
                self._add(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return self._message()
            else:
                raise Gone(f"after {self.held} bytes")

    def _begin(self, request: h11.Request) -> None:
        """Look at the head; raises ``Served`` for what is answered by it alone."""
        self._method = request.method.decode()
        path = request.target.decode(errors="replace").partition("?")[0]
        if path not in (*_CALLS, *_STATES):
            self.path = "NotFound"
            raise self._served(404, "")
        self.path = path
        allowed = ("POST",) if path in _CALLS else ("GET", "POST")
        if self._method not in allowed:
            raise self._served(405, "Method not allowed")
        length = next((value for name, value in request.headers if name == b"content-length"), b"0")
        if int(length) > overhttp.LARGEST:
            raise Refused(f"it has {int(length)} bytes, at most {overhttp.LARGEST} are read")

    def _add(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > overhttp.LARGEST:
            raise Refused(f"it has more than {overhttp.LARGEST} bytes")
        self._body.append(data)

    def _message(self) -> wire.Received:
        body = b"".join(self._body)
        self._body.clear()
        self._size = 0
        if self.path in _STATES:
            return wire.Received(wire.Message(wire.CONTROL, _WORDS[self.path]).encode())
        asked = overhttp.decode(body)
        self._attributes = asked.attributes
        return wire.Received(asked.message.encode())

    def _say_continue(self) -> None:
        """curl sends a large body only when it is told to."""
        if self._http.they_are_waiting_for_100_continue:
            said = self._http.send(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                self.socket.send(said or b"")
            except OSError as error:
                raise Gone(str(error)) from error

    def _served(self, status: int, text: str) -> Served:
        body = f"{text}\n".encode(errors="replace") if text else b""
        counted = Counted(self.path, _method(self._method), str(status))
        return Served(response(status, body, _TEXT), counted)


_WORDS = {HEALTH: b"health", READY: b"ready"}


def _method(method: str) -> str:
    return method.lower() if method in ("GET", "POST", "HEAD", "PUT", "DELETE") else "other"
