"""The configuration file of Multus' first documentation, without a CNI binary on the node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from integration.blackbox.test_seed import FLANNEL, PTP, SRIOV
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Container, Runtime
from multus.testing.sriov import Card

LEASE = """\
FLANNEL_NETWORK=192.168.0.0/16
FLANNEL_SUBNET=192.168.42.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
"""


def _conf(folder: Path) -> dict[str, Any]:
    """The example, with every path in *folder*."""
    (folder / "subnet.env").write_text(LEASE)
    (folder / "empty").mkdir()
    store = {"dataDir": str(folder / "networks")}
    sriov: dict[str, Any] = {**SRIOV, "if0": "enp2s0", "cniDir": str(folder / "s")}
    ptp: dict[str, Any] = dict(PTP)
    files = {"subnetFile": str(folder / "subnet.env"), "dataDir": str(folder / "flannel")}
    return {
        "name": "multus-demo-network",
        "type": "multus",
        "cniDir": str(folder / "multus"),
        "binDir": str(folder / "empty"),
        "delegates": [
            {**sriov, "ipam": {**sriov["ipam"], **store}},
            {**ptp, "ipam": {**ptp["ipam"], **store}},
            {**FLANNEL, **files, "ipam": store},
        ],
    }


@pytest.mark.parametrize("alive", [True, False], ids=["running", "namespace gone"])
def test_it_is_served_wholly_in_process(
    runtime: Runtime, card: Card, cni_node: Node, cni_pod: Netns, tmp_path: Path, alive: bool
) -> None:
    conf, container = _conf(tmp_path), Container(cni_pod.path)
    nowhere = evolve(runtime, cni_path=conf["binDir"])
    before = cni_node.state()
    result = nowhere.add(conf, container).result
    assert result["ip4"]["ip"] == "192.168.42.2/24"
    assert result["ip4"]["gateway"] == "192.168.42.1"
    assert {name: cni_pod.addresses(name) for name in cni_pod.links()} == {
        "eth0": ["192.168.42.2/24"],
        "net0": ["10.56.217.131/24"],
        "net1": ["10.168.1.11/24"],
    }
    assert cni_pod.links()["eth0"].mtu == 1450
    if not alive:
        cni_pod.ip("link", "set", "net0", "netns", cni_node.name, "name", card.interface(0))
        cni_pod.remove()
    nowhere.delete(conf, container, result).require()
    left = [line for line in before.difference(cni_node.state()) if "cni0" not in line]
    kept = [each.name for each in (tmp_path / "networks").rglob("*") if each.name[0].isdigit()]
    assert (left, kept, list((tmp_path / "flannel").iterdir())) == ([], [], [])
