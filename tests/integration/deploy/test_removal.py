"""What removing Multus means for a pod that runs, and what a later installation finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from waiting import becomes

from integration.daemon.node import Daemon
from integration.kube.cluster import NETWORKS, Cluster
from multus.cni import shim
from multus.testing.apiserver import ApiServer
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Runtime


@frozen
class Installed:
    """A node whose runtime uses the first file of ``net_d``."""

    cluster: Cluster
    daemon: Daemon
    folder: Path

    @property
    def net_d(self) -> Path:
        return self.folder / "net.d"

    def multus(self, *arguments: str) -> str:
        program = os.path.join(os.path.dirname(sys.executable), "multus")
        argv = [program, *arguments, "--net-d", str(self.net_d)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def install(self) -> None:
        keys = self.folder / "keys.json"
        conf = self.cluster.conf(kubeconfig=None, type=None, name=None, cniVersion=None)
        keys.write_text(json.dumps(conf))
        program = self.folder / "shim"
        program.write_text(f"#!/bin/sh\nexec {sys.executable} -I -S {shim.__file__}\n")
        options = ["--program", str(program), "--bin-dir", self.cluster.bin.path]
        options += ["--settings", str(keys), "--kubeconfig", self.cluster.kubeconfig]
        self.multus("install", *options)

    def uninstall(self) -> str:
        return self.multus("uninstall", "--cni-dir", f"{self.folder}/multus")

    def first(self) -> tuple[Runtime, dict[str, Any]]:
        """The runtime with the program of its first configuration, and that one."""
        path = min(each for each in self.net_d.iterdir() if each.suffix == ".conflist")
        wire = json.loads(path.read_text())
        (plugin,) = wire["plugins"]
        conf = {**plugin, "name": wire["name"], "cniVersion": wire["cniVersion"]}
        program = (os.path.join(self.cluster.bin.path, plugin["type"]),)
        return evolve(self.cluster.runtime, program=program), conf

    def addresses(self, network: str) -> list[str]:
        """The addresses that the network's store has given out."""
        store = self.folder / "ipam" / network
        return [each.name for each in store.iterdir() if each.name[0].isdigit()]


@pytest.fixture
def node(cni_node: Node, cni_bin: BinDir, tmp_path: Path) -> Iterator[Installed]:
    cni_bin.real("ptp", "bridge", "host-local")
    with ApiServer(netns=cni_node.path) as api:
        kubeconfig = api.write_kubeconfig(tmp_path, "token-file")
        keys = {"cniDir": f"{tmp_path}/multus", "kubeconfig": kubeconfig, "nodeName": "n1"}
        daemon = Daemon(tmp_path / "daemon", cni_node, {**keys, "healGraceSeconds": 0})
        runtime = Runtime(("",), cni_bin.path, cni_node, environ=daemon.environ())
        cluster = Cluster(api, runtime, cni_bin, cni_node, str(tmp_path), kubeconfig)
        made = Installed(cluster, daemon, tmp_path)
        made.net_d.mkdir()
        lan = {"type": "ptp", "ipam": cluster.ipam("10.81.0")}
        wire = {"cniVersion": "1.0.0", "name": "lan", "plugins": [lan]}
        (made.net_d / "10-lan.conflist").write_text(json.dumps(wire))
        yield made
        daemon.stop()


def test_a_pod_keeps_its_networks_and_the_default_network_alone_undoes_its_own(
    node: Installed, cni_pod: Netns
) -> None:
    node.install()
    node.daemon.start()
    node.cluster.bridge("more", "10.82.0")
    pod = node.cluster.pod(cni_pod, {NETWORKS: "more"})
    runtime, conf = node.first()
    assert conf["type"] == "multus"
    runtime.add(conf, pod).require()

    said = node.uninstall()
    assert "1 container(s) are still attached by Multus" in said
    node.daemon.stop()
    assert cni_pod.links().keys() == {"eth0", "net1"}
    assert Path(node.cluster.bin.path, "multus").exists()

    runtime, conf = node.first()
    assert conf["type"] == "ptp"
    runtime.delete(conf, pod).require()
    assert cni_pod.links().keys() == {"net1"}
    assert (node.addresses("lan"), len(node.addresses("more"))) == ([], 1)

    # The pod is gone; a later installation finds what was left.
    cni_pod.remove()
    node.install()
    node.daemon.start()
    becomes(lambda: node.addresses("more"), [])
    becomes(lambda: node.daemon.metric("multus_attachments "), 0)
