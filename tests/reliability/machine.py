"""A machine of user-mode Linux with disks, whose power can be cut.

Its kernel is a process on this machine, and its disks are files here: what it has written to them
is in this machine's page cache, and what it has only in its own is lost with the process.  So a
SIGKILL of it is a power cut.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tools.vm import run as vm

#: A kernel starts faster with less of it.
_MEMORY = "320M"

#: A disk's size, in bytes, sparse; and what mkfs is told, so that it is small and fast.
_SIZE = 32 << 20
_SMALL = ("-m", "0", "-N", "4096", "-J", "size=4")


def require_machines() -> None:
    """Skip the test where user-mode Linux or ext4 is not installed."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root, at least of a user namespace")
    for program in (vm.KERNEL, "mkfs.ext4"):
        if shutil.which(program, path=_SEARCH) is None:
            pytest.skip(f"{program} is not on this machine")


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

    @classmethod
    def boot(cls, folder: Path, disks: Sequence[Path], program: str) -> Machine:
        """Start it; the *program*, in Python, runs in it and says lines of JSON."""
        environ = vm.prepare(folder)
        environ["MEMORY"] = _MEMORY
        environ["DISKS"] = " ".join(f"ubd{number}={path}" for number, path in enumerate(disks))
        processor = sorted(os.sched_getaffinity(0))[-1]
        process = subprocess.Popen(
            shlex.split(vm.interpreter(folder, processor)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # unshare does not expect that its child is killed
            env=environ,
            bufsize=0,
        )
        assert process.stdin is not None
        process.stdin.write(repr(program).encode() + b"\n")
        return cls(process, folder)

    def cut(self) -> bool:
        """Kill its kernel; false if it had ended.  Returns when none of its processes is left."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        self.process.wait()  # the first process of a PID namespace is the last one to be reaped
        return bool(children)

    def lines(self) -> Iterator[Mapping[str, Any]]:
        """What the program says, to the machine's end."""
        assert self.process.stdout is not None
        rest = b""
        while data := self.process.stdout.read(65536):
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                yield json.loads(line)

    def console(self) -> str:
        return vm.console(self.folder)
