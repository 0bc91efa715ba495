"""Paths that configurations name: which are plain, and what is beneath what.

These are rules on text: no file is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable


def is_possible(path: str) -> bool:
    """Whether *path* is absolute and can be a path at all: no NUL, no half of a surrogate pair."""
    if not path.startswith("/") or "\0" in path:
        return False
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_plain(path: str) -> bool:
    """Whether *path* is possible and has no part that is empty, ``.`` or ``..``.

    One slash at the end is allowed.
    """
    if not is_possible(path):
        return False
    parts = path[1:].split("/")
    if parts[-1] == "":
        del parts[-1]
    return not any(part in ("", ".", "..") for part in parts)


def is_within(path: str, places: Iterable[str]) -> bool:
    """Whether *path* is plain, and one of *places* or beneath one."""
    if not is_plain(path):
        return False
    whole = path.rstrip("/") + "/"
    return any(whole.startswith(place.rstrip("/") + "/") for place in places)
