"""Serves a page over HTTP, to whoever reaches its address: a browser on this node, or a tunnel.

It only answers GET and HEAD.  A request has to name the server by an IP address or as
``localhost``: a page of another site, which makes its own name lead here (DNS rebinding), has to
send that name.  The cost of clients is bounded (`multus.serving.clients`).  A page that follows the
node asks again, instead of holding a connection: so a reader that is slow, or gone, holds nothing.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

import h11

from multus.api.errors import IOFailure, described
from multus.picture import frame
from multus.picture.page import Answer
from multus.serving.address import parsed
from multus.serving.clients import MOST, Clients, as_bytes

#: A connection has so long, in seconds.
_SECONDS = 5.0
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
        elsewhere = error.errno == errno.EADDRNOTAVAIL
        fix = "choose an address that this host has" if elsewhere else "choose another port"
        raise IOFailure(f"cannot serve the page at {address}: {error.strerror}", fix=fix) from error
    listener.listen(MOST)
    listener.setblocking(False)
    return listener


def url(listener: socket.socket) -> str:
    """Where a browser finds the page."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class Server:
    """Answers at *listener* until ``stop`` is called; *watched* are looked after meanwhile."""

    def __init__(
        self, listener: socket.socket, answer: Answering, watched: Iterable[Watched] = ()
    ) -> None:
        self._listener, self._answer = listener, answer
        self._stopped = False
        self._woken, self._waking = socket.socketpair()
        self._clients = Clients(listener, self._respond, _SECONDS)
        self._clients.watch(self._woken.fileno(), lambda: None)
        for each in watched:
            self._clients.watch(each.fileno(), each.changed)

    def stop(self) -> None:
        """End ``run`` soon; for other threads and signal handlers."""
        self._stopped = True
        with suppress(OSError):  # it has ended already
            self._waking.send(b"x")

    def run(self) -> None:
        """Serve; the listener is closed at the end."""
        try:
            while not self._stopped:
                self._clients.turn()
        finally:
            for each in (self._clients, self._listener, self._woken, self._waking):
                each.close()

    def _respond(self, http: h11.Connection, request: h11.Request) -> bytes:
        return _wire(http, request, self._answered(request))

    def _answered(self, request: h11.Request) -> Answer:
        hosts = [value.decode("latin-1") for name, value in request.headers if name == b"host"]
        if len(hosts) != 1 or not is_by_address(hosts[0]):
            said = b"open the page by an IP address, or as localhost\n"
            return Answer(421, _TEXT, said)
        if request.method not in (b"GET", b"HEAD"):
            return Answer(405, _TEXT, b"this page can only be read\n")
        try:
            target = urlsplit(request.target.decode("ascii", "replace"))
            query = dict(parse_qsl(target.query, max_num_fields=16))
        except ValueError:
            return Answer(400, _TEXT, b"the address cannot be read\n")
        try:
            return self._answer(target.path, query)
        except Exception as error:  # noqa: BLE001  the next request is to be served
            return Answer(500, _TEXT, f"the page cannot be made: {described(error)}\n".encode())


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
    headers = [*frame.headers()]
    if answer.etag:
        headers.append(("ETag", answer.etag))
    if not same:
        headers += [("Content-Type", answer.kind), ("Content-Length", str(len(answer.body)))]
    if answer.status == 405:
        headers.append(("Allow", "GET, HEAD"))
    return as_bytes(http, 304 if same else answer.status, headers, body)
