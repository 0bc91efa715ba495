"""The streams of a command over SPDY/3.1, as kubectl before 1.31 asks for them.

Source: draft-mbelshe-httpbis-spdy-00 (frames in 2.2 and 2.6, the dictionary of names in 2.6.10.1);
Kubernetes gives each channel a stream whose header ``streamtype`` names it.
"""

from __future__ import annotations

import socket
import struct
import threading
import zlib
from collections.abc import Mapping

from multus.testing.apiserver.execution import STATUS, STDERR, STDIN, STDOUT

#: Of a control frame's first 16 bits: it is one, and of version 3.
_CONTROL = 0x8003
_SYN_STREAM, _SYN_REPLY, _PING, _GOAWAY = 1, 2, 6, 7
_FIN = 1
_CHANNELS = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": STATUS}

_NAMES = [
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
]
_MORE = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_REST = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, "
    "Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch"
    "charset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _text(value: str) -> bytes:
    return struct.pack(">I", len(value)) + value.encode()


_DICTIONARY = b"".join(map(_text, (*_NAMES, *_MORE))) + _REST.encode()


class Spdy:
    """A connection that has been upgraded to SPDY; the client opens its streams one by one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._streams: dict[int, int] = {}
        self._pack = zlib.compressobj(zdict=_DICTIONARY)
        self._unpack = zlib.decompressobj(zdict=_DICTIONARY)

    def open(self, channels: int) -> None:
        """Wait until the client has opened so many streams."""
        while len(self._streams) < channels:
            frame = self._next()
            if frame is None:
                return

    def send(self, channel: int, data: bytes) -> None:
        self._frame(struct.pack(">II", self._streams.get(channel, 0), len(data)) + data)

    def end(self) -> None:
        for number in self._streams.values():
            self._frame(struct.pack(">II", number, _FIN << 24))
        self._control(_GOAWAY, struct.pack(">II", max(self._streams.values(), default=0), 0))

    def receive(self) -> tuple[int, bytes] | None:
        while (frame := self._next()) is not None:
            number, flags, body = frame
            if number and number == self._streams.get(STDIN):
                if body:
                    return STDIN, body
                if flags & _FIN:
                    return STDIN, b""
        return None

    def _next(self) -> tuple[int, int, bytes] | None:
        """The next frame: its stream (0 for a control frame), flags and data; None at the end."""
        head = self._exactly(8)
        if head is None:
            return None
        first, second = struct.unpack(">II", head)
        flags, body = second >> 24, self._exactly(second & 0xFFFFFF)
        if body is None:
            return None
        if first >> 16 != _CONTROL:
            return first, flags, body
        kind = first & 0xFFFF
        if kind == _SYN_STREAM:
            self._opened(body)
        elif kind == _PING:
            self._control(_PING, body)
        return None if kind == _GOAWAY else (0, flags, body)

    def _opened(self, body: bytes) -> None:
        (number,) = struct.unpack(">I", body[:4])
        headers = _headers(self._unpack.decompress(body[10:]))
        channel = _CHANNELS[headers["streamtype"]]
        self._streams[channel] = number
        names = self._pack.compress(struct.pack(">I", 0)) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        self._control(_SYN_REPLY, struct.pack(">I", number) + names)

    def _control(self, kind: int, body: bytes) -> None:
        self._frame(struct.pack(">HHI", _CONTROL, kind, len(body)) + body)

    def _frame(self, frame: bytes) -> None:
        with self._lock:
            self._connection.sendall(frame)

    def _exactly(self, size: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < size:
            part = self._connection.recv(size - len(parts))
            if not part:
                return None
            parts += part
        return bytes(parts)


def _headers(block: bytes) -> Mapping[str, str]:
    """The names and values of a header block, decompressed."""
    (count,), at, found = struct.unpack(">I", block[:4]), 4, []
    for _ in range(2 * count):
        (size,) = struct.unpack(">I", block[at : at + 4])
        found.append(block[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return dict(zip(found[::2], found[1::2], strict=True))
