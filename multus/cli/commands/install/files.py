"""Writes files atomically, and records what they replaced in a manifest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from multus.api import atomic
from multus.api.errors import IOFailure, StateDamaged

#: The subfolder of the configuration folder for files that the runtime does not read.
FOLDER = "multus.d"
_MANIFEST, _PREVIOUS, _CHANGED = "installed.json", "previous", "changed"
_FORMAT = 1


def write(path: str, data: bytes, mode: int) -> bool:
    """Write *data* to *path*; False when nothing changes.  Raises ``IOFailure``.

    A reader sees the old file or the new one, even after a power failure; a program that runs from
    the old file keeps running.
    """
    try:
        if _is_there(path, data, mode):
            return False
        atomic.write(path, data, mode, fsync=True)
    except OSError as error:
        fix = "check the folder's owner, mode and free space"
        if isinstance(error, FileNotFoundError):
            fix = f"create the folder {os.path.dirname(path)}, or name another one"
        raise IOFailure(f"cannot write {path}: {error.strerror}", fix=fix) from error
    return True


def remove(path: str) -> bool:
    """Delete *path*; False when it does not exist.  Raises ``IOFailure``."""
    try:
        os.unlink(path)
        atomic.sync_folder(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise IOFailure(f"cannot delete {path}: {error.strerror}") from error
    return True


def contents(path: str) -> bytes | None:
    """The content of *path*, None when it does not exist.  Raises ``IOFailure``."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IOFailure(f"cannot read {path}: {error.strerror}") from error


def make_folder(path: str, mode: int) -> None:
    """Create the folder *path* and its parents if needed.  Raises ``IOFailure``."""
    try:
        os.makedirs(path, mode=mode, exist_ok=True)
    except OSError as error:
        raise IOFailure(f"cannot create {path}: {error.strerror}") from error


def _is_there(path: str, data: bytes, mode: int) -> bool:
    try:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_mode & 0o777 == mode and file.read() == data
    except FileNotFoundError:
        return False


@frozen
class Written:
    """An installed file: its checksum, and the backup of the file that it replaced ("" for none).

    The checksum is empty for a file that was only moved to the backup.
    """

    path: str
    sha256: str
    previous: str = ""
    mode: int = 0o644


@frozen
class Manifest:
    """The installed files of this node, by path; ``primary`` is the default network's file.

    ``older`` is what another Multus had configured, as it was found; empty if there was none.
    ``settings`` are the keys that the installer gave, ``given`` is the configuration's text if it
    is the user's own.
    """

    folder: str
    written: Mapping[str, Written] = field(factory=dict)
    primary: str = ""
    older: Mapping[str, Any] = field(factory=dict)
    settings: Mapping[str, Any] = field(factory=dict)
    given: str = ""

    @classmethod
    def load(cls, net_d: str) -> Manifest:
        """Read ``multus.d/installed.json``; an empty manifest when it does not exist."""
        folder = os.path.join(net_d, FOLDER)
        path = os.path.join(folder, _MANIFEST)
        data = contents(path)
        if data is None:
            return cls(folder)
        try:
            raw = json.loads(data)
            if raw["format"] != _FORMAT:
                raise ValueError(f"its format is {raw['format']}")
            written = [Written(**each) for each in raw["written"]]
            files = {each.path: each for each in written}
            # Earlier releases wrote none of the last three.
            kept = raw.get("older", {}), raw.get("settings", {}), raw.get("given", "")
            return cls(folder, files, raw["primary"], *kept)
        except (ValueError, KeyError, TypeError) as error:
            raise StateDamaged(
                f"{path} cannot be read ({error})",
                fix="delete it, then run 'multus install' again",
            ) from error

    def put(self, path: str, data: bytes, mode: int) -> tuple[Manifest, bool]:
        """Write a file and record it; a foreign file at its path is backed up.

        The manifest is fsynced before the first file is written at *path*, so an interrupted
        installation can be undone. It is fsynced after a newer one: a repeated installation finds
        the old file with its checksum, or the one that it would write.
        """
        known = self.written.get(path)
        if known:
            changed = write(path, data, mode)
            manifest = self._with(evolve(known, sha256=digest(data)))
            if manifest != self:
                manifest.save()
            return manifest, changed
        manifest = self._with(Written(path, digest(data), self._keep(path, data), _mode_of(path)))
        manifest.save()
        return manifest, write(path, data, mode)

    def put_away(self, path: str) -> tuple[Manifest, bool]:
        """Delete a foreign file, and back it up for ``uninstall``."""
        before = contents(path)
        if before is None:
            return self, False
        manifest = self._with(Written(path, "", self._keep(path, b""), _mode_of(path)))
        manifest.save()
        return manifest, remove(path)

    def take_back(self, path: str) -> tuple[Manifest, str]:
        """Undo ``put``; returns a message about what was done."""
        entry = self.written[path]
        kept = contents(entry.previous) if entry.previous else None
        if kept is not None:
            write(path, kept, entry.mode)
            done = f"restored {path}"
        elif remove(path):
            done = f"removed {path}"
        else:
            done = f"{path} was already gone"
        rest = {name: each for name, each in self.written.items() if name != path}
        manifest = evolve(self, written=rest)
        manifest.save()
        if entry.previous:
            remove(entry.previous)
        return manifest, done

    def is_changed(self, path: str) -> bool:
        """Whether the file at *path* was changed since it was installed.

        The file that it replaced is there if the installation was interrupted before it: no change.
        """
        entry, now = self.written.get(path), contents(path)
        if entry is None or not entry.sha256 or now is None or digest(now) == entry.sha256:
            return False
        return not entry.previous or now != contents(entry.previous)

    def keep_changed(self, path: str) -> str:
        """Copy the file at *path*, for the user; returns the copy's path, "" for no file.

        The copy stays after ``forget``.
        """
        return self._copy(path, _CHANGED)

    def save(self) -> None:
        make_folder(self.folder, 0o700)
        wire = {
            "format": _FORMAT,
            "primary": self.primary,
            "older": self.older,
            "settings": self.settings,
            "given": self.given,
            "written": [
                {k: getattr(each, k) for k in ("path", "sha256", "previous", "mode")}
                for each in self.written.values()
            ],
        }
        path = os.path.join(self.folder, _MANIFEST)
        write(path, json.dumps(wire, indent=2).encode() + b"\n", 0o600)

    def forget(self) -> None:
        """Delete the manifest, and its folders if they are empty."""
        remove(os.path.join(self.folder, _MANIFEST))
        for folder in (os.path.join(self.folder, _PREVIOUS), self.folder):
            try:
                os.rmdir(folder)
            except OSError:
                continue  # it contains files of others

    def _with(self, entry: Written) -> Manifest:
        return evolve(self, written={**self.written, entry.path: entry})

    def _keep(self, path: str, data: bytes) -> str:
        return "" if contents(path) == data else self._copy(path, _PREVIOUS)

    def _copy(self, path: str, into: str) -> str:
        data = contents(path)
        if data is None:
            return ""
        folder = os.path.join(self.folder, into)
        make_folder(folder, 0o700)
        copy = os.path.join(folder, f"{os.path.basename(path)}.{digest(data)[:8]}")
        write(copy, data, 0o600)
        return copy


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _mode_of(path: str) -> int:
    try:
        return os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        return 0o644
