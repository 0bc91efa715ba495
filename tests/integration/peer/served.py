"""A node whose daemon serves the clients of the Go Multus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from waiting import becomes

from integration.daemon.node import Daemon
from integration.kube.cluster import Cluster
from integration.peer.goclient import GoClient
from multus.state.journal import Journal
from multus.testing.netns import Node
from multus.testing.runtime import Container

#: GC's list of a node without containers.
NONE_VALID: dict[str, Any] = {"cni.dev/valid-attachments": []}


@frozen
class Served:
    """A node whose daemon serves Go's clients; ``conf`` is the shim's: it has no kubeconfig."""

    cluster: Cluster
    daemon: Daemon
    go: GoClient
    conf: dict[str, Any]

    def add(self, container: Container) -> dict[str, Any]:
        """ADD as the shim does it: it waits until the daemon is ready."""
        becomes(lambda: self.go.state("/readyz"), 200)
        return self.go.cni("ADD", self.conf, container, self.cluster.bin.path).result

    def delete(self, container: Container) -> None:
        assert self.go.state("/healthz") == 200
        found = self.go.cni("DEL", self.conf, container, self.cluster.bin.path)
        assert (found.status, found.body) == (200, b"")

    def bridge(self, name: str, subnet: str, **keys: Any) -> dict[str, Any]:
        """The configuration of a definition, which the controller sends."""
        return {
            "cniVersion": "0.3.1",
            "name": name,
            "type": "bridge",
            "bridge": f"br-{name}",
            "ipam": self.cluster.ipam(subnet),
            **keys,
        }

    def records(self) -> list[str]:
        keys = Journal(self.daemon.settings["cniDir"]).keys()
        return [ifname for _, ifname in sorted(keys)]


@pytest.fixture
def served(cluster: Cluster, cni_node: Node, tmp_path: Path) -> Iterator[Served]:
    settings = {
        "cniDir": f"{cluster.folder}/multus",
        "kubeconfig": cluster.kubeconfig,
        "nodeName": "n1",
        "logLevel": "verbose",
    }
    daemon = Daemon(tmp_path / "daemon", cni_node, settings)
    conf = cluster.default(kubeconfig=None, type="multus-shim", daemonSocketDir="/run/multus")
    yield Served(cluster, daemon.start(), GoClient(daemon.socket), conf)
    daemon.stop()
