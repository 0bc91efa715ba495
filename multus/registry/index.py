"""The installed plugins, from an index that is rebuilt when something was installed.

A look-up through ``importlib.metadata`` takes 30 ms, more than the rest of a call.  So the result
is cached in an index beside this package's byte code; a user who may write there can already change
what this program runs.  The index holds the modification times of every folder that a distribution
could be installed into, and of every plugin's metadata.  When one differs, the index is stale and
is rebuilt.  Each ``sys.path`` has its own index: the program, ``python -m multus`` and a daemon
have different ones.
"""

from __future__ import annotations

import json
import os
import sys
from binascii import crc32
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from multus import __version__
from multus.registry.entry import Entry

#: The version of the index's format.
_FORMAT = 3

_MOST_INDEXES = 16


def discover(index: str | None = None) -> tuple[Entry, ...]:
    """The installed plugins, sorted by name: from the index at path *index*, or from a new scan.

    None as *index* means the index beside this package's byte code.
    """
    path = index or _index_path()
    known = _thaw(path)
    if known is not None:
        return known
    from multus.registry.scan import scan

    before = stamp(())
    entries = tuple(sorted(scan(), key=lambda entry: (entry.name, entry.distribution)))
    _freeze(path, entries, before)
    return entries


def stamp(entries: Iterable[Entry]) -> list[list[Any]]:
    """Paths and modification times; *entries* are stale when one of them differs."""
    folders = [path or "." for path in sys.path]
    files = sorted({entry.location for entry in entries if entry.location})
    return [[path, _changed(path)] for path in (*folders, *files)]


def _index_path() -> str:
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__pycache__")
    asked = crc32("\0".join(sys.path).encode())
    return os.path.join(folder, f"plugins.{sys.implementation.cache_tag}.{asked:08x}.json")


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _thaw(path: str) -> tuple[Entry, ...] | None:
    """The entries of the index at *path*; None when it is stale or another user may write it."""
    try:
        with open(path, encoding="utf-8") as file:
            found = os.fstat(file.fileno())
            if found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid()):
                return None  # a writer of this file can make this process import any module
            raw = json.load(file)
        if raw["format"] != _FORMAT or raw["multus"] != __version__:
            return None
        entries = tuple(_entry(each) for each in raw["entries"])
        return entries if raw["stamp"] == stamp(entries) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _entry(raw: Mapping[str, Any]) -> Entry:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    return Entry(**values)


def _freeze(path: str, entries: Sequence[Entry], before: list[list[Any]]) -> None:
    """Write the index to *path*; *before* is the stamp from before the scan."""
    after = stamp(entries)
    if after[: len(before)] != before:
        return  # something was installed during the scan: the next call scans again
    raw = {
        "format": _FORMAT,
        "multus": __version__,
        "stamp": after,
        "entries": [entry._asdict() for entry in entries],
    }
    from multus.api import atomic

    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        # Without fsync: an index that a power cut damaged is rebuilt.
        atomic.write(path, json.dumps(raw).encode(), 0o644, fsync=False)
        _prune(os.path.dirname(path))
    except OSError:
        return  # the installation is read-only: every call scans


def _prune(folder: str) -> None:
    """Delete all but the newest indexes: the ``sys.path`` of a test or a build is used once."""
    found = [each for each in os.scandir(folder) if each.name.startswith("plugins.")]
    found = [each for each in found if each.name.endswith(".json")]
    for old in sorted(found, key=lambda each: each.stat().st_mtime_ns)[:-_MOST_INDEXES]:
        os.unlink(old.path)
