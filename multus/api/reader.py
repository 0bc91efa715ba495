"""Read typed values from decoded JSON, with errors that name the key and the fix."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from multus.api.errors import InvalidConfig
from multus.api.where import Path

_WORDS = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "null",
}


def describe(value: object) -> str:
    """The JSON type of *value*, as text for messages."""
    words = (word for kind, word in _WORDS.items() if isinstance(value, kind))
    return next(words, type(value).__name__)


def _is_encodable(text: str) -> bool:
    # JSON can contain an unpaired surrogate, which a file's name cannot.
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Reader(NamedTuple):
    """Typed access to *raw*; *where* names the object in errors.

    ``prefix`` is the path from *where* to *raw*.  Every method returns *default* when the key is
    absent or null, and raises ``InvalidConfig`` when the value has another type.
    """

    raw: Mapping[str, Any]
    where: str
    prefix: Path = ()

    def error(self, key: str | Path, reason: str, fix: str = "correct it") -> InvalidConfig:
        """An error about *key*; *reason* continues a sentence that begins with the key."""
        path = (key,) if isinstance(key, str) else key
        return InvalidConfig(reason, where=self.where, key=(*self.prefix, *path), fix=fix)

    def inner(self, key: str) -> Reader:
        """Typed access to the object that *key* holds."""
        return Reader(self.mapping(key), self.where, (*self.prefix, key))

    def inners(self, key: str) -> list[Reader]:
        """Typed access to each object of the list that *key* holds."""
        return [
            Reader(each, self.where, (*self.prefix, key, index))
            for index, each in enumerate(self.mappings(key))
        ]

    def text(self, key: str, default: str = "") -> str:
        value = self._typed(key, str)
        return default if value is None else str(value)

    def path(self, key: str, default: str = "") -> str:
        """An absolute path, without a trailing slash; an empty one counts as absent."""
        path = self.place(key, default)
        if path and not (self.text(key) or default).startswith("/"):
            raise self.error(
                key, f"is {self.text(key)!r}, which is relative", "use an absolute path"
            )
        return path

    def place(self, key: str, default: str = "") -> str:
        """Like ``path``; a relative path is made absolute, from this process's working folder."""
        path = self.text(key) or default
        if "\0" in path or not _is_encodable(path):
            raise self.error(key, f"is {path!r}, which is not a valid path")
        if path and not path.startswith("/"):
            return os.path.abspath(path)
        return path.rstrip("/") or path[:1]

    def boolean(self, key: str, default: bool = False) -> bool:
        """A boolean; the strings "true" and "false", which some runtimes write, are accepted."""
        value = self.raw.get(key)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        value = self._typed(key, bool)
        return default if value is None else bool(value)

    def integer(self, key: str, default: int = 0, *, within: range | None = None) -> int:
        """An integer; *within* limits it."""
        value = self._typed(key, int)
        number = default if value is None else int(value)
        if within is not None and number not in within:
            raise self.error(key, f"is {number}", f"use a number from {within[0]} to {within[-1]}")
        return number

    def number(self, key: str, default: float = 0.0) -> float:
        value = self.raw.get(key)
        if isinstance(value, float):
            return value
        value = self._typed(key, int)
        try:
            return default if value is None else float(value)
        except OverflowError as error:
            raise self.error(key, "is too large") from error

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self._typed(key, dict)
        return {} if value is None else dict(value)

    def sequence(self, key: str) -> list[Any]:
        value = self._typed(key, list)
        return [] if value is None else list(value)

    def mappings(self, key: str) -> list[Mapping[str, Any]]:
        """A list of objects."""
        return [dict(self._item(key, i, v, dict)) for i, v in enumerate(self.sequence(key))]

    def texts(self, key: str) -> list[str]:
        """A list of strings."""
        return [str(self._item(key, i, v, str)) for i, v in enumerate(self.sequence(key))]

    def _typed(self, key: str, kind: type) -> Any:
        value = self.raw.get(key)
        if value is None:
            return None
        return self._require((key,), value, kind)

    def _item(self, key: str, index: int, value: object, kind: type) -> Any:
        return self._require((key, index), value, kind)

    def _require(self, key: Path, value: object, kind: type) -> Any:
        # bool is a subclass of int in Python, but not a number in JSON.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(key, f"must be {_WORDS[kind]}, not {describe(value)}")
        return value
