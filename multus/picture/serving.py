"""Serves a page over HTTP, to whoever reaches its address: a browser on this node, or a tunnel.

It only answers GET and HEAD.  A request has to name the server by an IP address or as
``localhost``: a page of another site, which makes its own name lead here (DNS rebinding), has to
send that name.  The cost of clients is bounded: one thread, which never waits for one of them,
16 connections at a time, 50 new ones a second, and five seconds for each.  A page that follows the
node asks again, instead of holding a connection: so a reader that is slow, or gone, holds nothing.
"""

from __future__ import annotations

import ipaddress
import re
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

import h11
from attrs import define, field

from multus.api.errors import IOFailure, described
from multus.picture import frame
from multus.picture.address import parsed
from multus.picture.page import Answer

_MOST = 16
#: Pause between two new connections: fifty a second are enough for all that look.
_PAUSE = 0.02
#: A connection has so long, in seconds.
_SECONDS = 5.0
#: The longest turn of the loop, in seconds.
_TURN = 0.5
_TEXT = "text/plain; charset=utf-8"

#: A ``Host`` header: a name or an IPv4 address, or an IPv6 address; and a port.
_HOST = re.compile(r"(?:(?P<name>[\w.-]+)|\[(?P<six>[0-9A-Fa-f:.]+)\])(?::[0-9]*)?", re.ASCII)

#: Path and query to an answer.
Answering = Callable[[str, Mapping[str, str]], Answer]


class Watched(Protocol):
    """Something whose descriptor becomes readable when it has changed."""

    def fileno(self) -> int:
        """The descriptor."""

    def changed(self) -> None:
        """Is called when it is readable."""


def listening(address: str) -> socket.socket:
    """A listening socket at *address*: ``127.0.0.1:8470``, ``[::1]:8470``; port 0 for any.

    Raises ``InvalidConfig`` for a text that is no address with a port, ``IOFailure`` when it cannot
    be bound.
    """
    host, port = parsed(address)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise IOFailure(
            f"cannot serve the page at {address}: {error.strerror}", fix="choose another port"
        ) from error
    listener.listen(_MOST)
    listener.setblocking(False)
    return listener


def url(listener: socket.socket) -> str:
    """Where a browser finds the page."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


@define(eq=False)
class _Client:
    """One connection; ``rest`` is the unsent part of the answer, None while a request is read."""

    socket: socket.socket
    until: float
    http: h11.Connection = field(factory=lambda: h11.Connection(h11.SERVER))
    rest: memoryview | None = None

    def request(self) -> h11.Request | None:
        """Read what has arrived; the request once its head is complete.

        Raises ``OSError`` or ``h11.ProtocolError``, also when the client has disconnected.
        """
        self.http.receive_data(self.socket.recv(16384))
        event = self.http.next_event()
        if event is h11.NEED_DATA:
            return None
        if not isinstance(event, h11.Request):
            raise ConnectionResetError("the client has disconnected")
        return event

    def send(self) -> bool:
        """Send as much as the socket takes; returns whether that was all."""
        assert self.rest is not None
        self.rest = self.rest[self.socket.send(self.rest) :]
        return not self.rest


class Server:
    """Answers at *listener* until ``stop`` is called; *watched* are looked after meanwhile."""

    def __init__(
        self, listener: socket.socket, answer: Answering, watched: Iterable[Watched] = ()
    ) -> None:
        self._listener, self._answer = listener, answer
        self._clients: list[_Client] = []
        self._stopped = False
        self._selector = selectors.DefaultSelector()
        self._woken, self._waking = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ, lambda: None)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        for each in watched:
            self._selector.register(each.fileno(), selectors.EVENT_READ, each.changed)

    def stop(self) -> None:
        """End ``run`` soon; for other threads and signal handlers."""
        self._stopped = True
        with suppress(OSError):  # it has ended already
            self._waking.send(b"x")

    def run(self) -> None:
        """Serve; the listener is closed at the end."""
        try:
            while not self._stopped:
                self._turn()
        finally:
            for client in list(self._clients):
                self._drop(client)
            for each in (self._selector, self._listener, self._woken, self._waking):
                each.close()

    def _turn(self) -> None:
        for key, _ in self._selector.select(_TURN):
            if not isinstance(key.data, _Client):
                key.data()
            elif key.data in self._clients:  # an earlier event may have dropped it
                self._go_on(key.data)
        now = time.monotonic()
        for client in [each for each in self._clients if now > each.until]:
            self._drop(client)

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return  # the client has disconnected, or no descriptors are left
        peer.setblocking(False)
        if len(self._clients) >= _MOST:
            self._drop(self._clients[0])
        client = _Client(peer, time.monotonic() + _SECONDS)
        self._clients.append(client)
        self._selector.register(peer, selectors.EVENT_READ, client)
        time.sleep(_PAUSE)

    def _go_on(self, client: _Client) -> None:
        try:
            if client.rest is None:
                request = client.request()
                if request is None:
                    return
                client.rest = memoryview(_wire(client.http, request, self._answered(request)))
                self._selector.modify(client.socket, selectors.EVENT_WRITE, client)
            if client.send():
                self._drop(client)
        except BlockingIOError:
            return
        except (OSError, h11.ProtocolError):
            self._drop(client)

    def _answered(self, request: h11.Request) -> Answer:
        hosts = [value.decode("latin-1") for name, value in request.headers if name == b"host"]
        if len(hosts) != 1 or not is_by_address(hosts[0]):
            said = b"open the page by an IP address, or as localhost\n"
            return Answer(421, _TEXT, said)
        if request.method not in (b"GET", b"HEAD"):
            return Answer(405, _TEXT, b"this page can only be read\n")
        try:
            target = urlsplit(request.target.decode("ascii", "replace"))
            return self._answer(target.path, dict(parse_qsl(target.query, max_num_fields=16)))
        except ValueError:
            return Answer(400, _TEXT, b"the address cannot be read\n")
        except Exception as error:  # noqa: BLE001  the next request is to be served
            return Answer(500, _TEXT, f"the page cannot be made: {described(error)}\n".encode())

    def _drop(self, client: _Client) -> None:
        self._selector.unregister(client.socket)
        self._clients.remove(client)
        with suppress(OSError):
            client.socket.close()


def is_by_address(host: str) -> bool:
    """Whether a ``Host`` header names the server by an IP address, or as ``localhost``."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found["name"] or found["six"]
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _wire(http: h11.Connection, request: h11.Request, answer: Answer) -> bytes:
    """The bytes of an answer."""
    known = [value.decode("latin-1") for name, value in request.headers if name == b"if-none-match"]
    same = bool(answer.etag) and answer.etag in known
    body = b"" if same or request.method == b"HEAD" else answer.body
    headers = [*frame.headers(), ("Connection", "close")]
    if answer.etag:
        headers.append(("ETag", answer.etag))
    if not same:
        headers += [("Content-Type", answer.kind), ("Content-Length", str(len(answer.body)))]
    if answer.status == 405:
        headers.append(("Allow", "GET, HEAD"))
    parts = [
        http.send(h11.Response(status_code=304 if same else answer.status, headers=headers)),
        http.send(h11.Data(data=body)) if body else b"",
        http.send(h11.EndOfMessage()),
    ]
    return b"".join(part for part in parts if part)
