"""The spool: DELs that shims kept under ``cniDir`` while no daemon ran; workers replay them.

``<cniDir>/.spool/<nanoseconds>.<container>`` is one message of ``multus.daemon.wire``.  It is
written by rename, so it is complete or missing.  The file is removed only after its DEL succeeded;
a DEL that fails is retried, with growing pauses.

A shim keeps a DEL under the ``cniDir`` of its configuration.  The daemon learns of folders other
than its own from calls, and lists them in ``<cniDir>/.folders``.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import TYPE_CHECKING

from multus.api import atomic

if TYPE_CHECKING:
    from multus.log import Log

FOLDER, FOLDERS = ".spool", ".folders"
#: What daemons of earlier releases left under ``cniDir``; nothing reads it any more.
_MARK = ".daemon"
#: Prefix of malformed files: they are renamed and kept, for an administrator to look at.
DAMAGED = ".damaged-"
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0
_MOST_FOLDERS = 16
_TICK_NS = 50_000_000
#: A ``cniDir`` that a shim accepts for its spool (``multus.cni.shim.text_of``).
_MAY_HAVE_ONE = re.compile(r"/[A-Za-z0-9/_.-]{0,254}").fullmatch


class Listing:
    """The files of one spool; listing an unchanged spool again costs one system call."""

    def __init__(self, cni_dir: str) -> None:
        self.folder = os.path.join(cni_dir, FOLDER)
        self._names: tuple[str, ...] = ()
        self._seen = -1

    def names(self) -> tuple[str, ...]:
        """The names of the files, the oldest first."""
        try:
            moment = os.stat(self.folder).st_mtime_ns
        except OSError:
            return ()
        if moment != self._seen:
            with contextlib.suppress(OSError):
                names = os.listdir(self.folder)
                self._names = tuple(sorted(each for each in names if not each.startswith(".")))
                # A second file within one tick of the kernel's clock does not change the mtime.
                self._seen = moment if time.time_ns() - moment > _TICK_NS else -1
        return self._names


class Spool:
    """All spools of the node: their files, and when each is due."""

    def __init__(self, cni_dir: str, log: Log) -> None:
        self._cni_dir = cni_dir
        self._log = log
        self._listings = {each: Listing(each) for each in (cni_dir, *remembered(cni_dir))}
        self._pauses: dict[str, tuple[float, float]] = {}
        self.outcomes: dict[str, int] = {}

    @property
    def cni_dirs(self) -> tuple[str, ...]:
        """Every known ``cniDir``, the daemon's own first."""
        return tuple(self._listings)

    def waiting(self) -> list[str]:
        """The paths of all files, the oldest first."""
        found = [
            os.path.join(listing.folder, name)
            for listing in self._listings.values()
            for name in listing.names()
        ]
        return sorted(found, key=os.path.basename)

    def due(self, now: float) -> list[str]:
        """The paths of the files that are due: for each container the oldest one only."""
        found: dict[str, str] = {}
        for path in self.waiting():
            found.setdefault(container_of(path), path)
        return [path for path in found.values() if self._pauses.get(path, (0.0, 0.0))[0] <= now]

    def of(self, container: str) -> tuple[str, ...]:
        """The paths of one container's files, the oldest first."""
        return tuple(path for path in self.waiting() if container_of(path) == container)

    def learn(self, cni_dir: str) -> None:
        """Add the ``cniDir`` of a call: shims may keep DELs there."""
        known = cni_dir in self._listings or len(self._listings) > _MOST_FOLDERS
        if known or not _MAY_HAVE_ONE(cni_dir):
            return
        self._listings[cni_dir] = Listing(cni_dir)
        try:
            _remember(self._cni_dir, list(self._listings)[1:])
        except OSError as error:
            self._log.error(f"cannot write {os.path.join(self._cni_dir, FOLDERS)}", error=error)

    def ended(self, path: str, outcome: str, reason: str) -> None:
        """Note the outcome of the DEL in *path*: forget it, schedule a retry, or set it aside."""
        if outcome == "gone":
            self._pauses.pop(path, None)
            return
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        if outcome == "failed":
            before = self._pauses.get(path, (0.0, _FIRST_PAUSE / 2))[1]
            pause = min(2 * before, _LONGEST_PAUSE)
            self._pauses[path] = (time.monotonic() + pause, pause)
            self._log.error(
                "a spooled DEL failed: it is retried", file=path, seconds=pause, error=reason
            )
            return
        self._pauses.pop(path, None)
        if outcome == "malformed":
            self._set_aside(path, reason)
        else:
            self._log.verbose("carried out a spooled DEL", container=container_of(path))

    def _set_aside(self, path: str, reason: str) -> None:
        folder, name = os.path.split(path)
        kept = os.path.join(folder, DAMAGED + name)
        self._log.error(f"malformed spooled DEL {path}: renamed to {kept}", reason=reason)
        try:
            os.rename(path, kept)
        except OSError as error:
            self._log.error(f"cannot rename {path}", error=error)


def container_of(path: str) -> str:
    """The container's ID, from a spooled file's name."""
    return os.path.basename(path).partition(".")[2]


def remembered(cni_dir: str) -> list[str]:
    """The other ``cniDir``s that the daemon of this one has learned from calls."""
    try:
        with open(os.path.join(cni_dir, FOLDERS), encoding="utf-8") as file:
            lines = file.read(1 << 16).splitlines()
    except (OSError, ValueError):
        return []
    return [each for each in lines if each.startswith("/") and each != cni_dir][:_MOST_FOLDERS]


def _remember(cni_dir: str, folders: list[str]) -> None:
    os.makedirs(cni_dir, mode=0o700, exist_ok=True)
    data = "".join(f"{each}\n" for each in folders).encode()
    # No fsync: after a power cut, the next call with each folder adds it again.
    atomic.write(os.path.join(cni_dir, FOLDERS), data, fsync=False)


def remove_mark(cni_dir: str) -> str:
    """Remove the mark that an older daemon left in *cni_dir*; returns its path, or ""."""
    path = os.path.join(cni_dir, _MARK)
    try:
        os.unlink(path)
    except OSError:
        return ""  # there is none, or it stays where nothing reads it
    return path
