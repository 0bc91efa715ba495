"""Decoding the API server's answers, so that one object of an odd form does not affect others.

A list or a watch has the objects of all tenants.  Python refuses a whole text for one value in it:
one that is nested too deep, or a number of thousands of digits.  Such a value is read as null or
infinity; no plugin reads one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

#: Deeper values are read as null.  What plugins read is at most five levels deep.
_DEEPEST = 200
_LONGEST_NUMBER = 4000
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def decode(body: bytes) -> Any:
    """The value of *body*; raises ``ValueError`` when that is not JSON."""
    try:
        return json.loads(body)
    except RecursionError:
        body = _shallow(body)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError:
        # A number that is too long; it is read below.
        pass
    return json.loads(body, parse_int=_integer)


def metadata_of(wire: object) -> Mapping[str, Any]:
    """The ``metadata`` of an object; empty when it has none of the right type."""
    found = wire.get("metadata") if isinstance(wire, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _shallow(body: bytes) -> bytes:
    """*body* with null in the place of everything that is nested too deep."""
    parts: list[bytes] = []
    depth = position = 0
    for token in _TOKEN.finditer(body):
        sign = token[0]
        if sign in (b"[", b"{"):
            depth += 1
            if depth == _DEEPEST + 1:
                parts += (body[position : token.start()], b"null")
        elif sign in (b"]", b"}"):
            depth -= 1
            if depth == _DEEPEST:
                position = token.end()
    if depth > _DEEPEST:
        raise ValueError("the text is cut off")
    return b"".join((*parts, body[position:]))


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= _LONGEST_NUMBER else float(text)
