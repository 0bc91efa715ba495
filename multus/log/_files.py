"""Compresses rotated log files, and deletes old ones.

Runs as a separate process, so that neither a container runtime nor the daemon's threads wait for
the compression of a large file: ``python -I -S _files.py PATH BACKUPS DAYS COMPRESS``.
"""

from __future__ import annotations

import os
import sys
import time


def tidy_apart(path: str, max_backups: int, max_age_days: int, *, compress: bool) -> None:
    """Start :func:`tidy` in a detached process that inherits no open files."""
    arguments = [path, str(max_backups), str(max_age_days), str(int(compress))]
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", os.path.abspath(__file__), *arguments],
        {},
        file_actions=quiet,
        setsid=True,
    )
    # The child forks and exits at once, so init reaps the worker.
    os.waitpid(pid, 0)


def tidy(path: str, max_backups: int, max_age_days: int, *, compress: bool) -> None:
    """Compress the rotated files of ``path``; delete excess (0: keep all) and old ones."""
    backups = _backups(path)
    too_old = time.time_ns() - max_age_days * 86400 * 10**9
    keep = backups[-max_backups:] if max_backups else backups
    for stamp, name in backups:
        if (stamp, name) not in keep or (max_age_days and stamp < too_old):
            _remove(name)
        elif compress and not name.endswith(".gz"):
            _compress(name)


def _backups(path: str) -> list[tuple[int, str]]:
    """Rotated files with their rotation time in nanoseconds, oldest first."""
    folder, base = os.path.split(path)
    found = []
    for name in os.listdir(folder or "."):
        stamp = name[len(base) + 1 :].removesuffix(".gz")
        if name.startswith(f"{base}.") and stamp.isdigit():
            found.append((int(stamp), os.path.join(folder, name)))
    return sorted(found)


def _compress(name: str) -> None:
    import gzip
    import shutil

    unfinished = f"{name}.gz.{os.getpid()}"
    try:
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(name, "rb") as plain, os.fdopen(fd, "wb") as file, gzip.open(file, "wb") as gz:
            shutil.copyfileobj(plain, gz)
        os.rename(unfinished, f"{name}.gz")
    except FileNotFoundError:
        # Another process already compressed it.
        _remove(unfinished)
        return
    _remove(name)


def _remove(name: str) -> None:
    try:
        os.unlink(name)
    except FileNotFoundError:
        return


if __name__ == "__main__":
    if os.fork() == 0:
        tidy(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), compress=sys.argv[4] == "1")
