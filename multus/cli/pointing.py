"""From an error's message to the key that it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from multus.cli.documents import Document, Path

_INDEXED = re.compile(r"([A-Za-z_][\w.-]*)\[(\d+)\]")
_QUOTED = re.compile(r"'([^'\s]+)'|\"([^\"\s]+)\"")


def key_of(message: str, document: Document, base: Path = ()) -> Path:
    """The path of the key under *base* that *message* names; *base* when it names none."""
    found = base
    for name, index in _INDEXED.findall(message):
        step = (*found, name, int(index))
        if step in document.marks:
            found = step
    for candidate in _candidates(message):
        # A message names the outer key before the inner one.
        for start in (found, base) if len(found) - len(base) < 3 else (found,):
            path = (*start, *candidate)
            if path in document.marks and len(path) > len(found):
                found = path
                break
    return found


def path_of(text: str) -> Path:
    """``delegates[0].type`` as a path."""
    path: list[str | int] = []
    for part in text.split("."):
        name, *indexes = part.replace("]", "").split("[")
        path += [name, *(int(each) for each in indexes if each.isdigit())]
    return tuple(path)


def without(value: Any, path: Path) -> Any:
    """*value* without the key at *path*; everything else is the same."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(value, dict) and head in value:
        if not rest:
            return {key: each for key, each in value.items() if key != head}
        return {**value, head: without(value[head], rest)}
    if isinstance(value, list) and isinstance(head, int) and head < len(value):
        if not rest:
            return value[:head] + value[head + 1 :]
        return [without(v, rest) if i == head else v for i, v in enumerate(value)]
    return value


def with_value(value: Any, path: Path, new: Any) -> Any:
    """*value* with *new* at *path*; everything else is the same."""
    if not path:
        return new
    head, rest = path[0], path[1:]
    if isinstance(value, dict):
        return {**value, head: with_value(value.get(head), rest, new)}
    if isinstance(value, list):
        return [with_value(v, rest, new) if i == head else v for i, v in enumerate(value)]
    return value


def _candidates(message: str) -> Iterator[Path]:
    for single, double in _QUOTED.findall(message):
        text = single or double
        yield (text,)
        # Annotations have dots of their own, paths have them between keys.
        yield ("metadata", "annotations", text)
        if re.fullmatch(r"[\w.\[\]-]+", text):
            yield path_of(text)
