"""A text in a PNG file: of what the picture was taken.

Source: Portable Network Graphics (third edition), 5.3 "Chunk layout" and 11.3.3.2 "tEXt".
"""

from __future__ import annotations

import re
import struct
import zlib

#: The signature and the first chunk, IHDR, of every PNG file.
_HEADER = 8 + 25
_KEYWORD = b"Description\0"


def stamped(png: bytes, text: str) -> bytes:
    """*png* with *text*, which is Latin-1, as its description."""
    body = b"tEXt" + _KEYWORD + text.encode("latin-1")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:_HEADER] + chunk + png[_HEADER:]


def stamp(png: bytes) -> str:
    """The description that :func:`stamped` wrote; "" without one."""
    found = re.search(rb"(.{4})tEXt" + _KEYWORD, png[: _HEADER + 24], re.DOTALL)
    if not found:
        return ""
    (length,) = struct.unpack(">I", found[1])
    return png[found.end() : found.end() + length - len(_KEYWORD)].decode("latin-1")
