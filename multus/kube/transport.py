"""HTTP to one API server: one connection pool, retries within one deadline, errors as CNI errors.

urllib3 sends one request.  Repeating it is done here: every wait, a server's ``Retry-After``
included, has to fit into the deadline of the CNI call, and :meth:`HttpClient.close` ends it.
"""

from __future__ import annotations

import random
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import (
    HTTPError,
    InvalidHeader,
    NewConnectionError,
    ProtocolError,
    ProxyError,
)
from urllib3.exceptions import TimeoutError as UrllibTimeoutError

from multus.api.errors import CNIError
from multus.api.kubernetes._failures import ApiFailure, TooLarge, Unreachable
from multus.kube.answers import failure
from multus.kube.connections import ConnectionPool, Sockets
from multus.kube.credentials import Credentials
from multus.kube.proof import Certificate, Proof
from multus.kube.watched import WatchedFile

if TYPE_CHECKING:
    from multus.api.kubernetes._deadline import Deadline
    from multus.kube.kubeconfig import Access

#: The longest answer and the longest event of a watch that are read, in bytes.  The API server
#: itself takes no object of more than 3 MiB; lists are read in pages.
MAX_BODY = 8 * 1024 * 1024
#: A connection is given up after so many seconds; there is a new one for the next attempt.
_CONNECTING = 10.0
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 3.0
_RETRIED = frozenset({429, 500, 502, 503, 504})
#: It reads ``Retry-After``, a number of seconds or a date.
_POLICY = urllib3.Retry()


class HttpClient:
    """Requests to the API server of one :class:`Access`; safe to use from several threads.

    :meth:`close` ends every wait: pauses between attempts, missing answers, a credential plugin.
    """

    def __init__(self, access: Access) -> None:
        self.cluster = access.cluster
        self._closed = threading.Event()
        self._sockets = Sockets()
        self._credentials = Credentials(access.user, self._closed)
        authority = access.cluster.authority
        self._authority = (
            WatchedFile(authority.path, "certificate authority")
            if authority.path and not authority.data
            else None
        )
        self._lock = threading.Lock()
        self._pool: ConnectionPool | None = None
        self._pool_identity: tuple[bytes, Certificate | None] | None = None

    def close(self) -> None:
        """End the requests under way and close every connection; there are no more requests."""
        self._closed.set()
        self._sockets.close()
        with self._lock:
            pool, self._pool = self._pool, None
        if pool:
            pool.close()

    def call(
        self,
        method: str,
        path: str,
        action: str,
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> bytes:
        """The body of a successful answer.

        *action* is what the caller does, for messages: ``"get pod default/web"``.  429, 5xx and
        lost connections are repeated until *deadline*, so *body* has to be a write that may arrive
        twice.  Raises :class:`~multus.api.kubernetes.TooLarge` for an answer above ``MAX_BODY``.
        """
        wait, refused = _FIRST_WAIT, False
        answered: ApiFailure | None = None
        while True:
            try:
                response = self._send(method, path, action, deadline, query, headers, body)
                with response:
                    content = self._read(response, action, deadline)
            except (HTTPError, OSError) as error:
                asked = 0.0
                # An earlier answer of the server says more than the timeout.
                problem: CNIError = answered or self._unreachable(action, error)
                if not _worth_repeating(error):
                    raise problem from error
            else:
                status = response.status
                if 200 <= status < 300:
                    return content
                answered = problem = failure(
                    action, self.cluster.server, self.cluster.origin, status, content
                )
                if status == 401 and not refused and self._credentials.refused():
                    refused = True
                    continue
                if status not in _RETRIED:
                    raise problem
                asked = _asked_pause(response)
            pause = max(asked, wait * random.uniform(0.5, 1.0))
            if pause >= deadline.remaining():
                raise problem
            if self._closed.wait(pause):
                raise self._ended(action)
            wait = min(wait * 2, _LONGEST_WAIT)

    def stream(
        self,
        path: str,
        action: str,
        deadline: Deadline,
        *,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        silence: float,
    ) -> Stream:
        """Open an endless answer; it fails when the server sends nothing for *silence* seconds."""
        for attempt in (1, 2):
            try:
                response = self._send("GET", path, action, deadline, query, headers, None)
                if response.status == 200:
                    _wait_at_most(response, silence)
                    return Stream(response, action, lambda error: self._unreachable(action, error))
                with response:
                    content = self._read(response, action, deadline)
            except (HTTPError, OSError) as error:
                raise self._unreachable(action, error) from error
            if response.status != 401 or attempt == 2 or not self._credentials.refused():
                break
        raise failure(action, self.cluster.server, self.cluster.origin, response.status, content)

    def _send(
        self,
        method: str,
        path: str,
        action: str,
        deadline: Deadline,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        body: bytes | None,
    ) -> urllib3.BaseHTTPResponse:
        self._left(action, deadline)
        proof = self._credentials.current(deadline)
        target = path + (f"?{urlencode(query)}" if query else "")
        sent = urllib3.HTTPHeaderDict({"User-Agent": "multus", "Accept": "application/json"})
        for name, value in proof.headers:
            # Impersonate-Group may stand several times.
            sent.add(name, value)
        for name, value in (headers or {}).items():
            sent[name] = value
        pool, remaining = self._pool_for(proof), self._left(action, deadline)
        return pool.send(
            method,
            target,
            body=body,
            headers=sent,
            timeout=urllib3.Timeout(connect=min(_CONNECTING, remaining), read=remaining),
        )

    def _left(self, action: str, deadline: Deadline) -> float:
        """How many seconds are left for *action*, above 0."""
        if self._closed.is_set():
            raise self._ended(action)
        remaining = deadline.remaining()
        if not remaining:
            raise Unreachable(
                f"cannot {action}: no time is left for {self.cluster.server}; "
                "the runtime repeats the call"
            )
        return remaining

    def _ended(self, action: str) -> Unreachable:
        return Unreachable(
            f"cannot {action}: the client of {self.cluster.server} was closed; the runtime repeats"
            " the call"
        )

    def _read(self, response: urllib3.BaseHTTPResponse, action: str, deadline: Deadline) -> bytes:
        """The whole body; a server that sends a byte now and then cannot outlast the deadline."""
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and len(announced) < 20 and int(announced) > MAX_BODY:
            raise _too_large(action)
        parts: list[bytes] = []
        size = 0
        while True:
            remaining = deadline.remaining()
            if not remaining:
                raise TimeoutError("the answer did not arrive in time")
            _wait_at_most(response, remaining)
            part = response.read1(65536)
            if not part:
                return b"".join(parts)
            parts.append(part)
            size += len(part)
            if size > MAX_BODY:
                raise _too_large(action)

    def _pool_for(self, proof: Proof) -> ConnectionPool:
        """The pool; a new one when the CA or the client certificate was replaced."""
        authority = self.cluster.authority.data
        if self._authority:
            authority = self._authority.read()
        identity = (authority, proof.certificate)
        with self._lock:
            pool = self._pool
            if pool is None or identity != self._pool_identity:
                pool = ConnectionPool(self.cluster, authority, proof.certificate, self._sockets)
                self._pool, self._pool_identity = pool, identity
        return pool

    def _unreachable(self, action: str, error: Exception) -> Unreachable:
        cluster = self.cluster
        if isinstance(_inner(error), ssl.SSLCertVerificationError):
            fix = f"check certificate-authority and tls-server-name of {cluster.origin}"
        else:
            fix = "check that the API server runs and that this node reaches it"
        return Unreachable(
            f"cannot {action}: {cluster.server}: {_plain(error)}",
            fix=fix,
        )


class Stream:
    """An endless answer as lines; :meth:`close` may be called from another thread."""

    def __init__(
        self,
        response: urllib3.BaseHTTPResponse,
        action: str,
        problem: Callable[[Exception], Unreachable],
    ) -> None:
        self._response = response
        self._action = action
        self._problem = problem
        self._closed = False

    def lines(self) -> Iterator[bytes]:
        """Complete lines until the server ends the answer or :meth:`close` is called."""
        line: list[bytes] = []
        size = 0
        try:
            while part := self._response.read1(65536):
                *ends, rest = part.split(b"\n")
                for end in ends:
                    yield b"".join((*line, end))
                    line, size = [], 0
                line.append(rest)
                size += len(rest)
                if size > MAX_BODY:
                    raise _too_large(self._action)
        except (HTTPError, OSError, ValueError) as error:
            # A TLS socket that :meth:`close` shut down raises a ValueError.
            if not self._closed:
                raise self._problem(error) from error
        finally:
            self._response.close()

    def close(self) -> None:
        """End :meth:`lines`, at once, in whichever thread it waits."""
        self._closed = True
        try:
            self._response.shutdown()
        except (OSError, ValueError, RuntimeError):
            # It ended by itself just before.
            return


def _wait_at_most(response: urllib3.BaseHTTPResponse, seconds: float) -> None:
    """Let the next read of *response* wait for *seconds*."""
    sock = getattr(response.connection, "sock", None)
    if sock is not None:
        sock.settimeout(seconds)


def _too_large(action: str) -> TooLarge:
    return TooLarge(
        f"cannot {action}: the answer is larger than {MAX_BODY} bytes",
        fix="make the object smaller",
    )


def _worth_repeating(error: Exception) -> bool:
    """Whether a repetition may succeed: a refused certificate stays refused."""
    return not isinstance(_inner(error), ssl.SSLCertVerificationError)


def _inner(error: BaseException) -> BaseException:
    """The interpreter's own exception, which urllib3 wraps in its own, one or more times."""
    wrapped = getattr(error, "original_error", None) or error.__cause__
    if wrapped is None and isinstance(error, HTTPError):
        wrapped = next((each for each in error.args if isinstance(each, BaseException)), None)
    return error if wrapped is None or wrapped is error else _inner(wrapped)


def _plain(error: Exception) -> str:
    """What happened, without urllib3's objects and their addresses."""
    if isinstance(error, ProxyError):
        return f"the proxy cannot be used ({_plain(error.original_error)})"
    inner = _inner(error)
    if not isinstance(error, NewConnectionError) and isinstance(
        error, TimeoutError | UrllibTimeoutError
    ):
        return "no answer in time"
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {inner.verify_message}"
    if isinstance(inner, ssl.SSLError):
        return f"TLS failed: {inner.reason or type(inner).__name__}"
    if isinstance(error, ProtocolError):
        return f"the connection was lost ({_words(inner)})"
    return _words(inner)


def _words(error: BaseException) -> str:
    """The words of the operating system; the class's name for what is an exception of urllib3."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__ if isinstance(error, HTTPError) else str(error)


def _asked_pause(response: urllib3.BaseHTTPResponse) -> float:
    """The seconds that ``Retry-After`` asks for; 0 without one, or when it is malformed."""
    try:
        return _POLICY.get_retry_after(response) or 0.0
    except InvalidHeader:
        return 0.0
