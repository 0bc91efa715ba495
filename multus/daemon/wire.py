"""The messages between a shim and the daemon: one request and one response per connection.

    offset  bytes
         0      4  "MULT"
         4      1  version of this layout, 1
         5      1  kind: 1 a CNI call, 2 a control request, 128 an answer
         6      2  answer: the exit status, 255 when the client has to carry the call out; else 0
         8      4  length of the environment
        12      4  length of the payload
        16      4  request: the client's timeout in milliseconds; else 0
        20         the environment: NAME=VALUE, each ended by a NUL
                   the payload: stdin, the control request's word, or stdout

Numbers are unsigned and big-endian.  A spooled DEL is such a message in a file.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

VERSION = 1
CNI, CONTROL, ANSWER = 1, 2, 128
KINDS = (CNI, CONTROL, ANSWER)
HEADER = 20
LARGEST = 8 << 20
LARGEST_ENVIRONMENT = 1 << 20
_MAGIC = b"MULT"


class Malformed(Exception):
    """The data is not a message of this layout; the text says why."""


@frozen
class Message:
    """One message; ``kind`` decides which fields are used.  ``seconds`` is relative to now."""

    kind: int
    payload: bytes = field(default=b"", repr=False)
    environ: Mapping[str, str] = field(factory=dict, repr=False)
    status: int = 0
    seconds: float = 0.0

    def encode(self) -> bytes:
        """The message as bytes."""
        pairs = [f"{name}={value}\0" for name, value in self.environ.items()]
        environment = "".join(pairs).encode("utf-8", "surrogateescape")
        return b"".join(
            (
                _MAGIC,
                bytes((VERSION, self.kind)),
                self.status.to_bytes(2, "big"),
                len(environment).to_bytes(4, "big"),
                len(self.payload).to_bytes(4, "big"),
                round(self.seconds * 1000).to_bytes(4, "big"),
                environment,
                self.payload,
            )
        )


class Received:
    """A complete received message, undecoded: for code that forwards it and reads a few fields.

    Raises ``Malformed``.
    """

    __slots__ = ("_end", "raw")

    def __init__(self, data: bytes) -> None:
        if len(data) < HEADER or len(data) != length_of(data):
            raise Malformed(f"it has {len(data)} bytes, which does not match its header")
        self.raw = data
        self._end = HEADER + _number(data, 8)
        if self._end > HEADER and data[self._end - 1] != 0:
            raise Malformed("its environment does not end in a NUL")

    @property
    def kind(self) -> int:
        return self.raw[5]

    @property
    def seconds(self) -> float:
        return _number(self.raw, 16) / 1000

    @property
    def payload(self) -> bytes:
        return self.raw[self._end :]

    def variable(self, name: bytes) -> str:
        """The value of an environment variable; "" when it is not set."""
        environment = b"\0" + self.raw[HEADER : self._end]
        at = environment.rfind(b"\0%s=" % name)
        if at < 0:
            return ""
        start = at + len(name) + 2
        value = environment[start : environment.index(b"\0", start)]
        return value.decode("utf-8", "surrogateescape")


def length_of(header: bytes | bytearray) -> int:
    """The length in bytes of the message that starts with *header*, which has at least 20 bytes.

    Raises ``Malformed``, also for a message above the limits.
    """
    if header[:4] != _MAGIC:
        raise Malformed("it does not begin with MULT")
    if header[4] != VERSION:
        raise Malformed(f"its version is {header[4]}, this daemon's is {VERSION}")
    if header[5] not in KINDS:
        raise Malformed(f"its kind is {header[5]}")
    environment, payload = _number(header, 8), _number(header, 12)
    if environment > LARGEST_ENVIRONMENT or payload > LARGEST:
        raise Malformed(f"it is too large: {environment} and {payload} bytes")
    return HEADER + environment + payload


def decode(data: bytes) -> Message:
    """Decode a complete message; raises ``Malformed``."""
    payload = Received(data).payload
    end = len(data) - len(payload)
    environment = data[HEADER:end].decode("utf-8", "surrogateescape")
    pairs = [pair.partition("=") for pair in environment.split("\0")[:-1]]
    return Message(
        kind=data[5],
        payload=payload,
        environ={name: value for name, equals, value in pairs if equals},
        status=int.from_bytes(data[6:8], "big"),
        seconds=_number(data, 16) / 1000,
    )


def _number(data: bytes | bytearray, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
