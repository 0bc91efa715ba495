"""Writing files whole or not at all, and remembering what was there before."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping

from attrs import evolve, field, frozen

from multus.api import atomic
from multus.api.errors import IOFailure, StateDamaged

#: The folder, inside the configuration folder, for everything that no runtime reads.
FOLDER = "multus.d"
_MANIFEST, _PREVIOUS = "installed.json", "previous"
_FORMAT = 1


def write(path: str, data: bytes, mode: int) -> bool:
    """Put *data* at *path*; False when it is there already.  Raises ``IOFailure``.

    A reader sees the old file or the new one, also after a power cut; a program that runs from the
    old file goes on running.
    """
    try:
        if _is_there(path, data, mode):
            return False
        atomic.write(path, data, mode, fsync=True)
    except OSError as error:
        raise IOFailure(
            f"cannot write {path}: {error.strerror}",
            fix="look at the folder's owner, mode and space",
        ) from error
    return True


def remove(path: str) -> bool:
    """Delete *path*; False when it is gone already.  Raises ``IOFailure``."""
    try:
        os.unlink(path)
        atomic.sync_folder(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise IOFailure(f"cannot delete {path}: {error.strerror}") from error
    return True


def contents(path: str) -> bytes | None:
    """What is at *path*, None when nothing is.  Raises ``IOFailure``."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IOFailure(f"cannot read {path}: {error.strerror}") from error


def make_folder(path: str, mode: int) -> None:
    """Make *path* and what is above it, if it is not there.  Raises ``IOFailure``."""
    try:
        os.makedirs(path, mode=mode, exist_ok=True)
    except OSError as error:
        raise IOFailure(f"cannot make {path}: {error.strerror}") from error


def _is_there(path: str, data: bytes, mode: int) -> bool:
    try:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_mode & 0o777 == mode and file.read() == data
    except FileNotFoundError:
        return False


@frozen
class Written:
    """A file that was installed: its sum, and where what was there before is kept ("" for none).

    The sum is empty for a file that was put away.
    """

    path: str
    sha256: str
    previous: str = ""
    mode: int = 0o644


@frozen
class Manifest:
    """What was installed on this node, by path; ``primary`` is the network that became default."""

    folder: str
    written: Mapping[str, Written] = field(factory=dict)
    primary: str = ""

    @classmethod
    def load(cls, net_d: str) -> Manifest:
        """What ``multus.d/installed.json`` says; empty when there is none."""
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
            return cls(folder, {each.path: each for each in written}, raw["primary"])
        except (ValueError, KeyError, TypeError) as error:
            raise StateDamaged(
                f"{path} cannot be read ({error})",
                fix="delete it, then run 'multus install' again",
            ) from error

    def put(self, path: str, data: bytes, mode: int) -> tuple[Manifest, bool]:
        """Write a file and remember it; what was there before, and was not ours, is kept.

        The manifest is on the disk before the file is: an interrupted installation can be undone.
        """
        known = self.written.get(path)
        previous = known.previous if known else self._keep(path, data)
        entry = Written(path, digest(data), previous, known.mode if known else _mode_of(path))
        manifest = evolve(self, written={**self.written, path: entry})
        if manifest != self:
            manifest.save()
        return manifest, write(path, data, mode)

    def put_away(self, path: str) -> tuple[Manifest, bool]:
        """Delete a file that was not ours, and keep it to be put back."""
        before = contents(path)
        if before is None:
            return self, False
        entry = Written(path, "", self._keep(path, b""), _mode_of(path))
        manifest = evolve(self, written={**self.written, path: entry})
        manifest.save()
        return manifest, remove(path)

    def take_back(self, path: str) -> tuple[Manifest, str]:
        """Undo ``put``; returns what was done, for people."""
        entry = self.written[path]
        kept = contents(entry.previous) if entry.previous else None
        if kept is not None:
            write(path, kept, entry.mode)
            done = f"restored {path}"
        elif remove(path):
            done = f"removed {path}"
        else:
            done = f"{path} was gone already"
        rest = {name: each for name, each in self.written.items() if name != path}
        manifest = evolve(self, written=rest)
        manifest.save()
        if entry.previous:
            remove(entry.previous)
        return manifest, done

    def is_changed(self, path: str) -> bool:
        """Whether somebody changed the file at *path* since it was installed."""
        entry, now = self.written.get(path), contents(path)
        return bool(entry and entry.sha256 and now is not None and digest(now) != entry.sha256)

    def save(self) -> None:
        make_folder(self.folder, 0o700)
        wire = {
            "format": _FORMAT,
            "primary": self.primary,
            "written": [
                {k: getattr(each, k) for k in ("path", "sha256", "previous", "mode")}
                for each in self.written.values()
            ],
        }
        path = os.path.join(self.folder, _MANIFEST)
        write(path, json.dumps(wire, indent=2).encode() + b"\n", 0o600)

    def forget(self) -> None:
        """Delete the manifest and its folders, when nothing else is in them."""
        remove(os.path.join(self.folder, _MANIFEST))
        for folder in (os.path.join(self.folder, _PREVIOUS), self.folder):
            try:
                os.rmdir(folder)
            except OSError:
                continue  # it holds what somebody else put there

    def _keep(self, path: str, data: bytes) -> str:
        before = contents(path)
        if before is None or before == data:
            return ""
        folder = os.path.join(self.folder, _PREVIOUS)
        make_folder(folder, 0o700)
        kept = os.path.join(folder, f"{os.path.basename(path)}.{digest(before)[:8]}")
        write(kept, before, 0o600)
        return kept


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _mode_of(path: str) -> int:
    try:
        return os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        return 0o644
