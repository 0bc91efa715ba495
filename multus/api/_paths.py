"""Checks on paths in configurations: whether one is plain, and whether it is within another.

They check only the text and never access files.
"""

from __future__ import annotations

from collections.abc import Iterable


def is_possible(path: str) -> bool:
    """Whether *path* is absolute and encodable: no NUL, no unpaired surrogate."""
    if not path.startswith("/") or "\0" in path:
        return False
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_plain(path: str) -> bool:
    """Whether *path* is a valid absolute path without parts that are empty, ``.`` or ``..``.

    One slash at the end is allowed.
    """
    if not is_possible(path):
        return False
    parts = path[1:].split("/")
    if parts[-1] == "":
        del parts[-1]
    return not any(part in ("", ".", "..") for part in parts)


def is_within(path: str, places: Iterable[str]) -> bool:
    """Whether *path* is plain, and is or is within one of *places*."""
    if not is_plain(path):
        return False
    whole = path.rstrip("/") + "/"
    return any(whole.startswith(place.rstrip("/") + "/") for place in places)
