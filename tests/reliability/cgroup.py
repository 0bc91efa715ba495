"""A cgroup with a memory limit, as the kubelet makes one for a container."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import frozen

#: The daemon's memory limit in ``deploy/daemonset/daemonset.yaml``, in bytes.
DAEMONSET_BYTES = 512 << 20

_ROOT = Path("/sys/fs/cgroup")


@frozen
class Cgroup:
    """A cgroup for processes; without a ``folder`` there is none, and ``reason`` says why."""

    folder: Path | None
    reason: str = ""

    def put(self, pid: int) -> None:
        """Move a process in; its future children are in it as well."""
        if self.folder is not None:
            (self.folder / "cgroup.procs").write_text(str(pid))

    def kill(self) -> None:
        """Kill every process in it, also those whose parents have ended."""
        if self.folder is not None:
            while left := (self.folder / "cgroup.procs").read_text().split():
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                time.sleep(0.01)

    def __str__(self) -> str:
        limit = f"memory limit {DAEMONSET_BYTES >> 20} MiB"
        return f"{limit}: {self.folder}" if self.folder else f"no {limit}: {self.reason}"


@contextmanager
def memory_limited(limit: int = DAEMONSET_BYTES) -> Iterator[Cgroup]:
    """A cgroup of version 2 or 1 with a limit of *limit* bytes, removed afterwards."""
    try:
        folder = _make(limit)
    except OSError as error:
        yield Cgroup(None, f"no memory cgroup can be made: {error}")
        return
    try:
        yield Cgroup(folder)
    finally:
        _remove(folder)


def _make(limit: int) -> Path:
    name = f"multus-test-{secrets.token_hex(4)}"
    version_1 = _ROOT / "memory"
    if version_1.is_dir():
        return _limited(version_1 / name, {"memory.limit_in_bytes": limit})
    own = (_ROOT / "cgroup.controllers").read_text().split()
    if "memory" not in own:
        raise OSError("the memory controller is not available")
    # As in the kubelet: when the limit is exceeded, all processes of the container are killed.
    keys = {"memory.max": limit, "memory.swap.max": 0, "memory.oom.group": 1}
    return _limited(_ROOT / name, keys)


def _limited(folder: Path, keys: dict[str, int]) -> Path:
    folder.mkdir()
    try:
        for key, value in keys.items():
            if key != "memory.swap.max" or (folder / key).exists():
                (folder / key).write_text(str(value))
    except OSError:
        folder.rmdir()
        raise
    return folder


def _remove(folder: Path) -> None:
    """Remove it once its last process has ended."""
    end = time.monotonic() + 60
    while True:
        with suppress(OSError):
            os.rmdir(folder)
            return
        if time.monotonic() > end:
            left = (folder / "cgroup.procs").read_text().split()
            raise AssertionError(f"processes {left} are left in {folder}")
        time.sleep(0.05)
