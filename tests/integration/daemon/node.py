"""The real daemon, started as a service manager would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, evolve

from multus.testing.netns import Netns
from multus.testing.runtime import Runtime

_PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


@define
class Daemon:
    """``multus daemon`` in the host's test namespace; *settings* are the keys of its file."""

    folder: Path
    node: Netns
    settings: Mapping[str, Any]
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "run" / "multus.sock"

    @property
    def log(self) -> str:
        path = self.folder / "daemon.log"
        return path.read_text() if path.exists() else ""

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def environ(self) -> dict[str, str]:
        return {"PATH": _PATH, "MULTUS_SOCKET": str(self.socket)}

    def clients(self, program: str, runtime: Runtime) -> Runtime:
        """*runtime* with a shim of this daemon, which waits for it, as its *program*."""
        environ = {**self.environ(), "ASAN_OPTIONS": "detect_leaks=0", "MULTUS_WAIT": "20"}
        return evolve(runtime, program=(program,), environ=environ)

    def start(self, **environ: str) -> Daemon:
        """Start it, and wait until it serves."""
        self.spawn(**environ)
        self.wait()
        return self

    def spawn(self, **environ: str) -> None:
        self.folder.mkdir(exist_ok=True, parents=True)
        config = self.folder / "daemon.json"
        keys = {"logFile": str(self.folder / "daemon.log"), "logToStderr": False}
        config.write_text(json.dumps({**keys, **self.settings}))
        program = os.path.join(os.path.dirname(sys.executable), "multus")
        argv = self.node.command([program, "daemon", "--config", str(config)])
        with open(self.folder / "stderr", "ab") as stderr:
            self.process = subprocess.Popen(argv, env={**self.environ(), **environ}, stderr=stderr)

    def wait(self, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while self.control("health")[0] != 0:
            assert self.process is not None
            assert self.process.poll() is None, self.stderr
            assert time.monotonic() < end, "the daemon does not serve"
            time.sleep(0.02)

    def control(self, word: str) -> tuple[int, str]:
        """The daemon's answer to a control request, from the Python shim's function."""
        from multus.cni import shim

        status, text = shim.control({b"MULTUS_SOCKET": os.fsencode(self.socket)}, word.encode())
        return status, text.decode()

    def metric(self, line: str) -> float:
        found = [each for each in self.control("metrics")[1].splitlines() if each.startswith(line)]
        return sum(float(each.rpartition(" ")[2]) for each in found)

    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (each for each in status.splitlines() if each.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def kill(self) -> None:
        """Kill it, as the kernel does when memory runs out."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        """Stop it, as a service manager does."""
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(60) == 0
            self.process = None
