"""A node without a daemon, and what tests of the engine on it do."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from reliability.processes import family_of
from waiting import eventually

from integration.blackbox.program import Multus
from multus.cli import engines
from multus.cni import shim
from multus.testing.netns import Netns
from multus.testing.runtime import Answer, Container


@frozen
class Warm:
    """A node without a daemon, on which a shim and the engine's program are installed."""

    multus: Multus
    folder: Path

    @property
    def place(self) -> Path:
        """A folder for the test's own files."""
        return self.folder.parent

    @property
    def socket(self) -> Path:
        """The engine's; there must be one."""
        (found,) = engines.found(str(self.folder))
        return Path(found.socket)

    @property
    def engine(self) -> int:
        """The engine's process; 0 when there is none that serves."""
        found = engines.found(str(self.folder))
        serves = [each.process for each in found if os.path.exists(each.socket)]
        return max(serves, default=0)

    def conf(self, *delegates: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
        ipam = {"type": "host-local", "subnet": "10.60.0.0/24", "dataDir": self.multus.ipam_dir}
        return self.multus.conf(
            *(delegates or [{"type": "ptp", "name": "p", "ipam": ipam}]), cniVersion="1.1.0", **keys
        )

    def with_environ(self, **environ: str) -> Warm:
        runtime = self.multus.runtime
        runtime = evolve(runtime, environ={**runtime.environ, **environ})
        return evolve(self, multus=evolve(self.multus, runtime=runtime))

    def add(self, container: Container, **keys: Any) -> Answer:
        return self.multus.add(self.conf(**keys), container)

    def delete(self, container: Container, **keys: Any) -> Answer:
        return self.multus.delete(self.conf(**keys), container)

    def leave(self, netns: Netns, **keys: Any) -> int:
        """Have an ADD and a DEL leave an engine; returns its process."""
        container = Container(netns.path)
        self.add(container, **keys).require()
        self.delete(container, **keys).require()
        eventually(lambda: self.engine)
        return self.engine

    def idle(self) -> bool:
        """Whether no worker of the engine has a call."""
        environ = {b"MULTUS_SOCKET": os.fsencode(self.socket)}
        said = shim.control(environ, b"workers")[1].decode().splitlines()
        return bool(said) and all(each.endswith((" idle", " starting")) for each in said)

    def served(self) -> float:
        """How many calls the engine has served."""
        environ = {b"MULTUS_SOCKET": os.fsencode(self.socket)}
        lines = shim.control(environ, b"metrics")[1].decode().splitlines()
        name = "multus_server_request_total"
        return sum(float(each.rpartition(" ")[2]) for each in lines if each.startswith(name))


def waits(warm: Warm) -> None:
    """Add a delegate that writes an x into "begun" at each call, and waits for the file "go"."""
    begun, go = warm.place / "begun", warm.place / "go"
    wait = f"printf x >> {begun}; until [ -e {go} ]; do sleep 0.02; done"
    script = f'#!/bin/sh\n{wait}\necho \'{{"cniVersion": "1.0.0"}}\'\n'
    warm.multus.bin.file("waits", script.encode())


def family(pid: int) -> list[int]:
    return [pid, *family_of(pid)]


def processes(engine: int) -> list[int]:
    """The engine's own processes, without those of delegates."""
    found = []
    for process in family(engine):
        with suppress(OSError):
            if "multus" in Path(f"/proc/{process}/comm").read_text():
                found.append(process)
    return found


def kill(engine: int) -> None:
    """Kill the engine, and wait until its other processes have ended with it."""
    ended = processes(engine)
    os.kill(engine, signal.SIGKILL)
    eventually(lambda: not any(os.path.exists(f"/proc/{each}") for each in ended))


def kill_all_but_the_supervisor(engine: int) -> None:
    for process in set(processes(engine)) - {engine}:
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)
