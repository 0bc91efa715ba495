"""Merge patches (RFC 7386): applying one, and joining two that are applied in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(target: Any, patch: Any) -> Any:
    """*target* with *patch* applied; what the patch does not name is shared, not copied."""
    if not isinstance(patch, Mapping):
        return patch
    found = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def joined(first: Any, second: Any) -> Any:
    """The patch that does what *first* and then *second* do.

    A key that *first* removes and *second* sets to an object is merged with what was there before:
    who writes an object anew names all its keys.
    """
    if not isinstance(first, Mapping) or not isinstance(second, Mapping):
        return second
    found = dict(first)
    for key, value in second.items():
        found[key] = joined(found[key], value) if key in found else value
    return found
