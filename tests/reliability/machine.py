"""A machine of user-mode Linux with disks, whose power can be cut.

Its kernel is a process on this machine, and its disks are files here: what it has written to them
is in this machine's page cache, and what it has only in its own is lost with the process.  So a
SIGKILL of it is a power cut.  A copy of its disks while it is stopped is what a power cut at that
moment leaves, for a fraction of the time.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen
from reliability.processes import family_of

from tools.vm import run as vm

#: A kernel starts faster with less of it.
_MEMORY = "320M"

#: A disk's size, in bytes, sparse; and what mkfs is told, so that it is small and fast.
_SIZE = 32 << 20
_SMALL = ("-m", "0", "-N", "4096", "-J", "size=4")


def require_machines() -> None:
    """Skip the test where no machine with ext4 disks can be started."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root, at least of a user namespace")
    reason = _shortcoming()
    if reason:
        pytest.skip(f"power cuts need user-mode Linux and ext4: {reason}")


@cache
def _shortcoming() -> str:
    for program in (vm.KERNEL, "mkfs.ext4"):
        if shutil.which(program, path=_SEARCH) is None:
            return f"{program} is not on this machine"
    with tempfile.TemporaryDirectory() as name:
        environ = {**vm.prepare(Path(name)), "MEMORY": _MEMORY}
        return vm.shortcoming(vm.interpreter(Path(name), _processor()), environ)


def _processor() -> int:
    return sorted(os.sched_getaffinity(0))[-1]


_SEARCH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def make_disk(path: Path) -> None:
    """Make an empty ext4 file system in a sparse file."""
    with open(path, "wb") as file:
        file.truncate(_SIZE)
    command = ["mkfs.ext4", "-q", "-F", *_SMALL, str(path)]
    subprocess.run(command, check=True, env={**os.environ, "PATH": _SEARCH})


@frozen
class Machine:
    """One boot of it, from power on to the cut."""

    process: subprocess.Popen[bytes]
    folder: Path
    _heard: bytearray = field(factory=bytearray)

    @classmethod
    def boot(cls, folder: Path, disks: Sequence[Path], program: str) -> Machine:
        """Start it; the *program*, in Python, runs in it and says lines of JSON."""
        environ = vm.prepare(folder)
        environ["MEMORY"] = _MEMORY
        environ["DISKS"] = " ".join(f"ubd{number}={path}" for number, path in enumerate(disks))
        process = subprocess.Popen(
            shlex.split(vm.interpreter(folder, _processor())),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # unshare does not expect that its child is killed
            env=environ,
            bufsize=0,
        )
        assert process.stdin is not None
        process.stdin.write(repr(program).encode() + b"\n")
        return cls(process, folder)

    def cut(self) -> None:
        """Kill its kernel; returns when none of its processes is left."""
        if self.process.poll() is None:
            for pid in self._children():
                os.kill(pid, signal.SIGKILL)
        self.process.wait()  # the first process of a PID namespace is the last one to be reaped

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Nothing of it runs meanwhile: its disks are as if its power had been cut now."""
        found = [pid for pid in family_of(self._children()[0]) if _field(pid, "TracerPid") == "0"]
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
            while _field(pid, "State")[:1] not in ("T", ""):
                time.sleep(0.001)
        yield
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def console(self) -> str:
        """What its kernel and its programs said on their standard error."""
        return vm.console(self.folder)

    def _children(self) -> list[int]:
        pid = self.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def line(self, deadline: float) -> Mapping[str, Any] | None:
        """What the program says next; None when it says nothing until then (``monotonic``).

        Raises ``EOFError`` when the machine has ended.
        """
        assert self.process.stdout is not None
        while b"\n" not in self._heard:
            patience = max(0.0, deadline - time.monotonic())
            if not select.select([self.process.stdout], [], [], patience)[0]:
                return None
            data = self.process.stdout.read(65536)
            if not data:
                raise EOFError(self.console())
            self._heard.extend(data)
        line, _, rest = bytes(self._heard).partition(b"\n")
        self._heard[:] = rest
        said: dict[str, Any] = json.loads(line)
        return said


def _field(pid: int, name: str) -> str:
    """A value of a process's status; empty when it has ended.

    The kernel of a machine traces the machine's processes, and nobody traces its own.
    """
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            key, _, value = line.partition(":")
            if key == name:
                return value.strip()
    return ""
