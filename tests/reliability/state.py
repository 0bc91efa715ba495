"""The engine with a state folder, and a plugin that attaches nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from reliability.recorder import COLLECTED, DELETED, SEEN

from multus.cni import skel
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.registry.entry import Entry
from multus.registry.index import discover
from multus.registry.loading import load

RECORDER = Entry("recorder", "reliability.recorder", "tests", "0")


@frozen
class Desk:
    """Calls on the folder *cni_dir*, one after the other."""

    engine: Engine
    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Desk:
        log = Log.from_conf({"logToStderr": False, "logFile": f"{folder}/log"})
        return cls(Engine(load([*discover(), RECORDER]), log), folder)

    @property
    def cni_dir(self) -> Path:
        return self.folder / "state"

    def conf(self, *networks: str, **keys: Any) -> dict[str, Any]:
        return {
            "cniVersion": "1.1.0",
            "name": "node",
            "type": "multus",
            "cniDir": str(self.cni_dir),
            "binDir": str(self.folder),
            "delegates": [{"type": "recorder", "name": name} for name in networks],
            **keys,
        }

    def call(
        self, command: str, conf: Mapping[str, Any], container_id: str = "c1", **variables: str
    ) -> dict[str, Any]:
        """The error or result, decoded; empty when nothing was printed."""
        DELETED.clear()
        SEEN.clear()
        COLLECTED.clear()
        environ = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container_id,
            "CNI_NETNS": "/run/netns/none",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(self.folder),
            "CNI_NETNS_OVERRIDE": "1",
            **variables,
        }
        stdin = json.dumps(conf).encode()
        status, stdout = skel.answer(environ, stdin, lambda *_: self.engine)
        said: dict[str, Any] = json.loads(stdout) if stdout else {}
        assert bool(status) == ("code" in said), said
        return said

    def done(
        self, command: str, conf: Mapping[str, Any], container_id: str = "c1", **variables: str
    ) -> None:
        said = self.call(command, conf, container_id, **variables)
        assert "code" not in said, said

    def collecting(
        self, conf: Mapping[str, Any], valid: Sequence[tuple[str, str]]
    ) -> dict[str, Any]:
        """*conf* with the keys for GC."""
        entries = [{"containerID": container, "ifname": ifname} for container, ifname in valid]
        return {**conf, "cni.dev/valid-attachments": entries}

    def files(self) -> list[str]:
        return sorted(name for name in os.listdir(self.cni_dir) if name != ".lock")

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""
