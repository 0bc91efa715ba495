"""A node whose daemon has the hostile plugin: it hangs, prints, exits and so on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from reliability import hostile
from waiting import eventually

from integration.blackbox.program import Multus
from integration.daemon.node import Daemon
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Container, Runtime


@frozen
class Place:
    """A node whose daemon has the hostile plugin; *folder* controls that plugin."""

    multus: Multus
    daemon: Daemon
    folder: Path

    def conf(self, *, deed: str, at: str) -> dict[str, Any]:
        """A real network, and the hostile plugin's."""
        acts = {"deed": deed, "at": at, "folder": str(self.folder)}
        return self.multus.conf(self.ptp(61), {"type": "hostile", "name": "h", **acts})

    def ptp(self, number: int) -> dict[str, Any]:
        ipam = {
            "type": "host-local",
            "subnet": f"10.{number}.0.0/24",
            "dataDir": self.multus.ipam_dir,
        }
        return {"type": "ptp", "name": f"p{number}", "ipam": ipam}

    @property
    def quiet(self) -> dict[str, Any]:
        """One network, attached in-process."""
        return self.multus.conf(self.ptp(62))

    def calm(self) -> None:
        """Make the hostile plugin harmless from now on."""
        (self.folder / "calm").touch()

    def begun(self) -> None:
        eventually((self.folder / "begun").exists)

    def start(self, **environ: str) -> None:
        self.daemon.start(PYTHONPATH=str(self.folder / "site"), **environ)

    def serves(self, netns: Netns) -> None:
        """Assert that an ADD and a DEL succeed."""
        container = Container(netns.path)
        self.multus.add(self.quiet, container).require()
        self.multus.delete(self.quiet, container).require()


@pytest.fixture
def more_settings() -> dict[str, Any]:
    """More keys of the daemon's file.

    A step is interrupted after ten seconds; on a busy machine the kernel may need some of them.
    """
    return {}


@pytest.fixture
def place(
    more_settings: dict[str, Any],
    cni_runtime: Runtime,
    cni_bin: BinDir,
    cni_node: Node,
    programs: dict[str, str],
    tmp_path: Path,
) -> Iterator[Place]:
    hostile.install(tmp_path / "site")
    cni_bin.real("ptp", "host-local")
    state = str(tmp_path / "multus")
    keys = {"cniDir": state, "logLevel": "verbose", **more_settings}
    daemon = Daemon(tmp_path / "daemon", cni_node, keys)
    environ = {**daemon.environ(), "MULTUS_WAIT": "5"}
    runtime = evolve(cni_runtime, program=(programs["python"],), environ=environ)
    multus = Multus(runtime, cni_bin, cni_node, state, str(tmp_path / "ipam"))
    made = Place(multus, daemon, tmp_path)
    yield made
    made.calm()
    daemon.stop()
