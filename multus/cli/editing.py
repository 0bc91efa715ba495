"""Values without a key, or with another value of it."""

from __future__ import annotations

from typing import Any

from multus.api.where import Path


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
