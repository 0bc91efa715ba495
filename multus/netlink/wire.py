"""Netlink messages as bytes: a small encoder and decoder for the hot path.

A message is a 16-byte header, a family header (``ifinfomsg``, ``ifaddrmsg`` …) and attributes:
length, type, payload, padded to four bytes.  Everything is in the machine's byte order.

Source: linux/netlink.h (``nlmsghdr``, ``nlattr``), Documentation/userspace-api/netlink/intro.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from multus.api.errors import InvalidConfig

NLMSG_ERROR = 2
NLMSG_DONE = 3

NLM_F_REQUEST = 0x01
NLM_F_ACK = 0x04
NLM_F_DUMP_INTR = 0x10
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
NLM_F_DUMP = 0x300

NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200

NLA_F_NESTED = 0x8000
_TYPE_MASK = 0x3FFF

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_U8 = struct.Struct("=B")
_U16 = struct.Struct("=H")
_BE16 = struct.Struct("!H")
_U32 = struct.Struct("=I")
_I32 = struct.Struct("=i")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

HEADER_SIZE = _HEADER.size


class Message(NamedTuple):
    """One request to the kernel, not sent yet.

    ``kind`` is the ``nlmsg_type`` (``RTM_NEWLINK`` …); ``flags`` are those beyond REQUEST and ACK,
    which every request carries; ``body`` is the family header with the attributes.  ``words``
    describes the request in English, for the error when the kernel refuses it.  An errno in
    ``expected`` counts as success (``ENODEV`` when a deleted link is gone already).  Without
    ``acknowledged`` the kernel answers only a failure (the ends of an nftables batch).  With
    ``replies`` the kernel answers with an object, and no acknowledgement is requested.
    """

    kind: int
    flags: int
    body: bytes
    words: str
    expected: tuple[int, ...] = ()
    acknowledged: bool = True
    replies: bool = False

    def encode(self, sequence: int, *, quiet: bool = False) -> bytes:
        """The bytes to send, with this sequence number; *quiet*: only a failure is answered."""
        size = len(self.body)
        flags = self.flags | NLM_F_REQUEST
        if self.acknowledged and not (quiet or self.replies):
            flags |= NLM_F_ACK
        head = _HEADER.pack(HEADER_SIZE + size, self.kind, flags, sequence, 0)
        return head + self.body + _PADDING[size & 3]


class Answer(NamedTuple):
    """One message from the kernel: ``kind`` and ``flags`` as in `Message`, ``body`` without header.

    ``body`` of an error or acknowledgement starts with the negative errno.
    """

    kind: int
    flags: int
    sequence: int
    body: bytes


def packed(form: struct.Struct, what: str, *values: int | bytes) -> bytes:
    """*values* in this form; raises ``InvalidConfig`` naming *what* when one does not fit.

    The values come from configurations and from other plugins' results.
    """
    try:
        return form.pack(*values)
    except struct.error as error:
        said = ", ".join(map(str, values))
        raise InvalidConfig(
            f"{what} is {said}, which does not fit into the kernel's message ({error})",
            fix="correct it",
        ) from None


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute with these bytes, padded."""
    size = len(payload)
    head = packed(_ATTRIBUTE, "the length and type of an attribute", size + 4, kind)
    return head + payload + _PADDING[size & 3]


def u8(kind: int, value: int, what: str = "a number") -> bytes:
    """An attribute that is one unsigned byte; *what* names it in errors."""
    return _ATTRIBUTE.pack(5, kind) + packed(_U8, what, value) + b"\0\0\0"


def u16(kind: int, value: int, what: str = "a number") -> bytes:
    """An attribute of two bytes, unsigned; *what* names it in errors."""
    return _ATTRIBUTE.pack(6, kind) + packed(_U16, what, value) + b"\0\0"


def u32(kind: int, value: int, what: str = "a number") -> bytes:
    """An attribute of four bytes, unsigned; *what* names it in errors."""
    return _ATTRIBUTE.pack(8, kind) + packed(_U32, what, value)


def be16(kind: int, value: int, what: str = "a number") -> bytes:
    """An attribute of two bytes in network order, unsigned; *what* names it in errors."""
    return _ATTRIBUTE.pack(6, kind) + packed(_BE16, what, value) + b"\0\0"


def be32(kind: int, value: int) -> bytes:
    """An attribute of four bytes in network order, as netfilter has them; may be negative."""
    return _ATTRIBUTE.pack(8, kind) + (value & 0xFFFFFFFF).to_bytes(4, "big")


def string(kind: int, value: str) -> bytes:
    """An attribute that is a string with its final zero byte.

    Raises ``InvalidConfig`` for a string that has a zero byte or cannot be encoded as UTF-8.
    """
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise InvalidConfig(
            f"{value!r} cannot be a name for the kernel",
            fix="use another one",
        )
    return attribute(kind, encoded + b"\0")


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes; without ``NLA_F_NESTED``, as rtnetlink expects."""
    payload = b"".join(attributes)
    head = packed(_ATTRIBUTE, "the length and type of an attribute", len(payload) + 4, kind)
    return head + payload


def flagged(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes, with ``NLA_F_NESTED``, as netfilter expects."""
    return nested(kind | NLA_F_NESTED, *attributes)


def attributes(body: bytes, start: int) -> list[tuple[int, bytes]]:
    """The attributes of a body from this offset on, as pairs of type (without flags) and payload.

    Stops at a truncated attribute without an error, as the kernel's own parser does.
    """
    # A loop without calls: an interface has fifty attributes, and an ADD reads several interfaces.
    found = []
    unpack, end = _ATTRIBUTE.unpack_from, len(body)
    while start + 4 <= end:
        size, kind = unpack(body, start)
        if size < 4 or start + size > end:
            break
        found.append((kind & _TYPE_MASK, body[start + 4 : start + size]))
        start += (size + 3) & ~3
    return found


def first(body: bytes, start: int, kind: int) -> bytes | None:
    """The payload of the first attribute of this type, from this offset of a body on; or None."""
    unpack, end = _ATTRIBUTE.unpack_from, len(body)
    while start + 4 <= end:
        size, found = unpack(body, start)
        if size < 4 or start + size > end:
            break
        if found & _TYPE_MASK == kind:
            return body[start + 4 : start + size]
        start += (size + 3) & ~3
    return None


def head(body: bytes, start: int) -> tuple[int, int]:
    """The size of the attribute at this offset, and its type with its flags."""
    size, kind = _ATTRIBUTE.unpack_from(body, start)
    return size, kind


def read_u32(payload: bytes) -> int:
    """The value of a four-byte attribute."""
    return int(_U32.unpack_from(payload)[0])


def read_i32(payload: bytes) -> int:
    """The value of a four-byte signed attribute, or the errno at the start of an error."""
    return int(_I32.unpack_from(payload)[0])


def read_string(payload: bytes) -> str:
    """The text of an attribute, without its final zero byte."""
    return payload.split(b"\0", 1)[0].decode(errors="replace")


def split(datagram: bytes) -> Iterator[Answer]:
    """The messages in what one ``recv`` returned."""
    start, end = 0, len(datagram)
    while start + HEADER_SIZE <= end:
        size, kind, flags, sequence, _port = _HEADER.unpack_from(datagram, start)
        if size < HEADER_SIZE or start + size > end:
            return
        yield Answer(kind, flags, sequence, datagram[start + HEADER_SIZE : start + size])
        start += (size + 3) & ~3


def explanation(answer: Answer) -> str:
    """The kernel's error text (``NETLINK_EXT_ACK``), or ""."""
    if not answer.flags & NLM_F_ACK_TLVS:
        return ""
    # struct nlmsgerr: the errno, then the header of the refused message, and all of it unless
    # the kernel capped it.
    start = 4 + HEADER_SIZE
    if not answer.flags & NLM_F_CAPPED:
        start = 4 + ((read_u32(answer.body[4:8]) + 3) & ~3)
    for kind, payload in attributes(answer.body, start):
        if kind == 1:  # NLMSGERR_ATTR_MSG
            return read_string(payload)
    return ""
