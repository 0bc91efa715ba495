"""The daemon's processes, calls in threads, and a limit of processes."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from reliability.processes import family_of
from waiting import PATIENCE, eventually

from integration.daemon.node import Daemon
from multus.testing.runtime import Answer


def processes(daemon: Daemon, name: str) -> list[int]:
    """The daemon's processes with this name."""
    found = []
    for pid in family_of(daemon.pid):
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text() == f"{name}\n":
                found.append(pid)
    return found


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


class Call:
    """A call in its own thread."""

    def __init__(self, call: Callable[[], Answer]) -> None:
        self._answers: list[Answer] = []
        self._thread = threading.Thread(target=lambda: self._answers.append(call()))
        self._thread.start()

    def is_running(self, seconds: float) -> bool:
        """Whether it has not ended after so many seconds."""
        self._thread.join(seconds)
        return self._thread.is_alive()

    def answer(self) -> Answer:
        self._thread.join(2 * PATIENCE)
        return self._answers[0]


def pids_cgroup() -> Path:
    """A new cgroup that can limit processes and threads; without one, the test is skipped."""
    version_1 = Path("/sys/fs/cgroup/pids")
    parent = version_1 if version_1.is_dir() else version_1.parent
    folder = parent / f"multus-test-{secrets.token_hex(4)}"
    try:
        folder.mkdir()
        if not (folder / "pids.max").exists():
            folder.rmdir()
            raise OSError("the controller is not available")
    except OSError as error:
        pytest.skip(f"no pids cgroup can be made: {error}")
    return folder


class Pids:
    """A cgroup with a limit of processes and threads, around a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def __enter__(self) -> Pids:
        self.folder = pids_cgroup()
        for _ in range(2):  # the second pass finds processes that were forked during the first
            self.take()
        return self

    def take(self) -> None:
        for pid in family_of(self._daemon.pid):
            with suppress(OSError):
                (self.folder / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        """Allow no more processes; one that is just ending must not make room for another."""
        current = [""]
        while current[-5:] != current[-1:] * 5:
            current.append((self.folder / "pids.current").read_text())
            time.sleep(0.05)
        (self.folder / "pids.max").write_text(current[-1])

    def open(self) -> None:
        (self.folder / "pids.max").write_text("max")

    def __exit__(self, *_: object) -> None:
        self.open()
        try:
            self._daemon.stop()
        finally:
            self._remove()

    def _remove(self) -> None:
        def removed() -> bool:
            with suppress(OSError):
                self.folder.rmdir()
            return not self.folder.exists()

        eventually(removed)
