"""Objects in memory, within a budget of bytes.

Each is kept as compact JSON: its length is its cost, and every reader gets a copy of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

#: Larger objects are not kept: one would take the room of hundreds of others.
LARGEST = 256 * 1024
#: What an entry costs beside its JSON: the key's two strings, the tuple, a place in the dict.
_ENTRY = 300

Key = tuple[str, str]


class Kept:
    """Objects by ``(namespace, name)``; written by one thread, read by many.

    An object that is too large, that cannot be written as JSON, or that exceeds the budget is only
    marked as existing.  For a reader, marked is the same as unknown: it asks the API server.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._texts: dict[Key, bytes | None] = {}
        self.bytes = 0
        self.marked = 0
        #: Whether an object was left out, since not even its mark had room.
        self.full = False

    def __len__(self) -> int:
        return len(self._texts)

    def get(self, key: Key) -> dict[str, Any] | None:
        """The object; None when it is unknown, or only marked."""
        text = self._texts.get(key)
        return None if text is None else dict(json.loads(text))

    def has(self, key: Key) -> bool:
        """Whether there is such an object, kept or marked."""
        return key in self._texts

    def lacks(self, key: Key) -> bool:
        """Whether there is no such object, not even one that is marked or was left out."""
        return not self.full and key not in self._texts

    def all(self) -> list[dict[str, Any]] | None:
        """All objects; None when one of them is only marked, or was not even marked."""
        texts = list(self._texts.values())
        if self.full or any(text is None for text in texts):
            return None
        return [dict(json.loads(text)) for text in texts if text is not None]

    def differing(self, before: Kept) -> list[Key]:
        """The keys whose objects are not the same as *before*, or not in both."""
        missing = [key for key in before._texts if key not in self._texts]
        found = self._texts.items()
        return missing + [key for key, text in found if before._texts.get(key, b"") is not text]

    def put(self, key: Key, value: Mapping[str, Any] | None, before: Kept | None = None) -> None:
        """Keep *value* in place of an earlier one; None marks the object.

        When *before* has the same text, both share it.
        """
        self.drop(key)
        text = _text(value)
        known = before._texts.get(key) if before else None
        if known is not None and known == text:
            text = known
        if self.bytes + _cost(key, text) > self._budget:
            text = None
        cost = _cost(key, text)
        if self.bytes + cost > self._budget:
            self.full = True
            return
        self._texts[key] = text
        self.bytes += cost
        self.marked += text is None

    def drop(self, key: Key) -> None:
        """Forget an object, if it is known."""
        if key in self._texts:
            text = self._texts.pop(key)
            self.bytes -= _cost(key, text)
            self.marked -= text is None


def _text(value: Mapping[str, Any] | None) -> bytes | None:
    if value is None:
        return None
    try:
        text = json.dumps(value, separators=(",", ":"), check_circular=False).encode()
    except (RecursionError, TypeError, ValueError):
        return None
    return text if len(text) <= LARGEST else None


def _cost(key: Key, text: bytes | None) -> int:
    return _ENTRY + len(key[0]) + len(key[1]) + len(text or b"")
