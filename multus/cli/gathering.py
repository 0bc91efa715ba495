"""Which files a command reads: those that are named, and those in folders, each once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from attrs import field, frozen

from multus.cli.findings import AS_ROOT, NOTE, UNCHECKED, Finding, Place

ENDINGS = (".conf", ".conflist", ".json", ".yaml", ".yml")
#: How many of the files that are passed over are named.
_NAMED = 3


@frozen
class Gathered:
    """The files, in order, and what was passed over."""

    files: tuple[str, ...]
    skipped: tuple[Finding, ...]


@frozen
class _Walk:
    seen: set[str] = field(factory=set)
    skipped: list[Finding] = field(factory=list)

    def files(self, paths: Iterable[str]) -> Iterator[str]:
        for path in paths:
            if path != "-" and os.path.isdir(path):
                yield from self._folder(path)
            elif self._is_new(path):
                yield path

    def _folder(self, top: str) -> Iterator[str]:
        """The JSON and YAML files in a folder and in those below it."""
        for folder, names, files in os.walk(top, onerror=self._unlisted):
            hidden = sorted(name for name in names if name.startswith("."))
            names[:] = sorted(name for name in names if not name.startswith("."))
            wanted = sorted(name for name in files if name.endswith(ENDINGS))
            others = sorted(name for name in files if not name.endswith(ENDINGS))
            self._skip(folder, "neither JSON nor YAML by its name", others)
            self._skip(folder, "a hidden folder", hidden)
            for name in wanted:
                path = os.path.join(folder, name)
                if not _is_regular(path):  # opening a FIFO would block
                    self._skip(folder, "not a regular file", [name])
                elif self._is_new(path):
                    yield path

    def _is_new(self, path: str) -> bool:
        real = path if path == "-" else os.path.realpath(path)
        if real in self.seen:
            return False
        self.seen.add(real)
        return True

    def _skip(self, folder: str, why: str, names: list[str]) -> None:
        if not names:
            return
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        reason = f"not read, since {why}: {', '.join(names[:_NAMED])}{more}"
        self.skipped.append(Finding(NOTE, "skipped", reason, place=Place(folder)))

    def _unlisted(self, error: OSError) -> None:
        place = Place(str(error.filename))
        reason = f"the folder cannot be read: {error.strerror}"
        self.skipped.append(Finding(UNCHECKED, "skipped", reason, AS_ROOT, place))


def gathered(paths: Iterable[str]) -> Gathered:
    """The files themselves (``-`` is stdin), and the JSON and YAML files of each folder."""
    walk = _Walk()
    return Gathered(tuple(walk.files(paths)), tuple(walk.skipped))


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True  # the error of reading it says why
