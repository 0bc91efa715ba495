"""The trace: what past requests did and how long each step took, in a file of bounded size.

A line is a JSON object: ``time`` (Unix, when it ended), ``command``, ``container``, ``ifname``,
``network`` (Multus' own), ``pod`` when there is one, and either

* ``stages``: the seconds of each, ``delegates``: those that were attached, ``plugins``: what each
  hook of a plugin and each verb of an invoker took, from a millisecond on, and ``error``: the
  request as a whole; or
* ``delegate``: one that was taken down, ``undone`` when that was since the ADD failed, ``error``.

Whoever finds the file full renames it under a lock; the one before that is given up, so that both
together are never larger than twice the limit and a line.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

#: What follows ``cniDir`` in the file's path, and in that of the one before it: beside the state,
#: where nothing is left when nothing is attached.
NAME, BEFORE = ".trace", ".trace.before"
LIMIT = 1 << 20
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def append(folder: str, entry: Mapping[str, Any], limit: int = LIMIT) -> None:
    """Add a line to the trace beside *folder*, a ``cniDir``; raises ``OSError``."""
    line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
    path = f"{folder}{NAME}"
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        if os.fstat(descriptor).st_size >= limit:
            _begin_anew(folder, path, descriptor)
            os.close(descriptor)
            descriptor = os.open(path, _FLAGS, 0o600)
        # One write: lines of several processes do not mix.
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def _begin_anew(folder: str, path: str, descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        if os.path.samestat(os.stat(path), os.fstat(descriptor)):
            os.rename(path, f"{folder}{BEFORE}")
    except FileNotFoundError:
        return  # another process was faster


def read(folder: str) -> Iterator[dict[str, Any]]:
    """Every entry of the trace beside *folder*, the oldest first; what is no entry is left out.

    Raises ``FileNotFoundError`` when there is no trace.
    """
    missing = 0
    for name in (BEFORE, NAME):
        try:
            with open(f"{folder}{name}", "rb") as file:
                yield from _entries(file)
        except FileNotFoundError:
            missing += 1
    if missing == 2:
        raise FileNotFoundError(f"{folder}{NAME}")


def _entries(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # torn: its writer was killed
        if isinstance(entry, dict):
            yield entry
