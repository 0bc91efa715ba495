"""The trace: past requests and the time of each step, in a file of bounded size.

Each line is a JSON object: ``time`` (Unix, the end), ``command``, ``container``, ``ifname``,
``network`` (of Multus' configuration), ``pod`` when there is one, and either

* for a whole request, ``seconds``, ``stages``: the seconds of each, ``delegates``: those that were
  attached, and with ``error`` the one that failed, ``plugins``: the seconds of each hook and each
  invoker's verb, from a millisecond on, and ``error``; or
* for one removed delegate, ``delegate``, ``undone`` if it was removed because the ADD failed, and
  ``error``.

The process that finds the file full renames it under a lock, replacing the previous one, so both
files together never exceed twice the limit plus a line.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import BinaryIO

#: Suffixes of ``cniDir`` for the current and the previous file.  They are not in the folder itself,
#: which is empty when nothing is attached.
NAME, BEFORE = ".trace", ".trace.before"
LIMIT = 1 << 20
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def append(folder: str, entry: Mapping[str, Any], limit: int = LIMIT) -> None:
    """Append a line to the trace beside *folder*, a ``cniDir``; raises ``OSError``."""
    line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
    path = f"{folder}{NAME}"
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        if os.fstat(descriptor).st_size >= limit:
            _begin_anew(folder, path, descriptor)
            os.close(descriptor)
            descriptor = os.open(path, _FLAGS, 0o600)
        # A single write, so that lines of several processes do not mix.
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def _begin_anew(folder: str, path: str, descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        if os.path.samestat(os.stat(path), os.fstat(descriptor)):
            os.rename(path, f"{folder}{BEFORE}")
    except FileNotFoundError:
        return  # another process already renamed it


def read(folder: str) -> Iterator[dict[str, Any]]:
    """Every entry of the trace beside *folder*, oldest first; invalid lines are skipped.

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


def follow(
    folder: str, pause: float = 0.3
) -> tuple[list[dict[str, Any]], Iterator[dict[str, Any]]]:
    """The entries of the trace beside *folder*, and those that are written after them.

    The iterator does not end; it looks every *pause* seconds.  Raises ``PermissionError`` for a
    trace that cannot be read.
    """
    path = f"{folder}{NAME}"
    found: list[dict[str, Any]] = []
    before, file = _opened(f"{folder}{BEFORE}"), _opened(path)
    if before is not None:
        with before:
            found += _entries(before)
    begun = b""
    if file is not None:
        *lines, begun = file.read().split(b"\n")
        found += _entries(lines)
    return found, _new(path, file, begun, pause)


def _new(path: str, file: BinaryIO | None, begun: bytes, pause: float) -> Iterator[dict[str, Any]]:
    """What is appended to *file*, whose last line is *begun*, and to the files that replace it."""
    while True:
        # Looked at first: what was written before the exchange is still read below.
        replaced = file is None or _is_replaced(path, file.fileno())
        if file is not None:
            *lines, begun = (begun + file.read()).split(b"\n")
            yield from _entries(lines)
        newer = _opened(path) if replaced else None
        if newer is None:
            time.sleep(pause)
            continue
        if file is not None:
            file.close()
        file, begun = newer, b""


def _opened(path: str) -> BinaryIO | None:
    try:
        return open(path, "rb")  # noqa: SIM115  it is closed by the generator
    except FileNotFoundError:
        return None


def _is_replaced(path: str, descriptor: int) -> bool:
    try:
        return not os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _entries(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # incomplete: its writer was killed
        if isinstance(entry, dict):
            yield entry
