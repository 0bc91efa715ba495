"""A made-up node: its folders in a temporary one, its links in a namespace."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from multus.testing.apiserver import ApiServer
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Container, Runtime


@frozen
class MadeUpNode:
    """The node that commands look at: ``folder`` holds its files, ``host`` its links."""

    folder: Path
    host: Node
    bin: BinDir
    program: Sequence[str]
    runtime: Runtime

    def path(self, *parts: str) -> Path:
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, content: str | Mapping[str, Any], mode: int = 0o600) -> Path:
        path = self.path(name)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        path.chmod(mode)
        return path

    def kubeconfig(self, name: str) -> Path:
        """Write a valid kubeconfig, of a cluster that does not exist."""
        wire = {
            "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "n", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "n",
        }
        return self.write(name, wire)

    def conf(self, **keys: Any) -> dict[str, Any]:
        """Multus' configuration on this node."""
        return {
            "cniVersion": "1.0.0",
            "name": "node-net",
            "type": "multus",
            "binDir": self.bin.path,
            "cniDir": str(self.folder / "state"),
            "delegates": [
                {
                    "name": "lan",
                    "type": "ptp",
                    "ipam": {
                        "type": "host-local",
                        "subnet": "10.77.0.0/24",
                        "dataDir": str(self.folder / "networks"),
                    },
                }
            ],
            **keys,
        }

    def healthy(self, **keys: Any) -> dict[str, Any]:
        """Put a configuration and a program in place; returns the configuration."""
        conf = self.conf(**keys)
        (self.folder / "state").mkdir(exist_ok=True)
        self.write("net.d/00-multus.conf", conf)
        shebang = f'#!/bin/sh\nexec {" ".join(self.program)} "$@"\n'
        self.bin.file("multus", shebang.encode())
        return conf

    def run(
        self,
        *arguments: str | Path,
        environ: Mapping[str, str] | None = None,
        online: bool = False,
        rights: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """A command of the program, as somebody on this node would type it.

        *online* is for one that talks to the API server, whose loopback is the machine's; *rights*
        are the capabilities that root does not have, as in ``setpriv --bounding-set``.
        """
        argv = [*self.program, *map(str, arguments)]
        if rights:
            argv = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}", *argv]
        return subprocess.run(
            argv if online else self.host.command(argv),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, **(environ or {})},
        )

    def doctor(
        self, *more: str | Path, online: bool = False, rights: str = ""
    ) -> tuple[int, list[dict[str, Any]]]:
        """What ``multus doctor`` finds here: its status and its findings."""
        done = self.run(
            "doctor",
            "--json",
            *("--net-d", self.folder / "net.d"),
            *("--bin-dir", self.bin.path),
            *("--socket", self.folder / "multus.sock"),
            *("--addresses", self.folder / "networks"),
            *("--results", self.folder / "results"),
            *("--sriov", self.folder / "sriov"),
            *("--settings", self.folder / "daemon.json"),
            *("--cni-dir", self.folder / "state"),
            *more,
            online=online,
            rights=rights,
        )
        assert done.stdout.startswith("{"), done.stderr
        return done.returncode, json.loads(done.stdout)["findings"]

    def attach(self, conf: Mapping[str, Any], pod: Netns, **keys: Any) -> Container:
        """A container, attached as a runtime does it."""
        container = Container(pod.path, **keys)
        self.runtime.add(conf, container).require()
        return container


@pytest.fixture
def made_up(
    tmp_path: Path,
    cni_node: Node,
    cni_bin: BinDir,
    cni_program: Sequence[str],
    cni_runtime: Runtime,
) -> MadeUpNode:
    cni_bin.real("ptp", "host-local", "bridge")
    (tmp_path / "net.d").mkdir()
    return MadeUpNode(tmp_path, cni_node, cni_bin, cni_program, cni_runtime)


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


def of(findings: Sequence[Mapping[str, Any]], subject: str) -> list[Mapping[str, Any]]:
    """The findings about one subject that are not fine."""
    return [e for e in findings if e["subject"] == subject and e["severity"] != "ok"]


Pods = Callable[[], Netns]
