"""containerd runs pods whose networks are Multus': by CRI as the kubelet does, and by ctr."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.containerd import ContainerdHost
from multus.testing.netns import Node

Conf = Callable[..., dict[str, Any]]

ADDRESSES = {"eth0": "10.91.0.", "net0": "10.92.0.", "net1": "10.93.0."}


def test_ctr_shows_all_interfaces(
    containerd_host: ContainerdHost, cni_node: Node, conf: Conf, tmp_path: Path
) -> None:
    containerd_host.network(conf())
    before = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
    shown = containerd_host.run_with_ctr("c1", "/bin/ip", "address")
    for ifname, address in ADDRESSES.items():
        assert ifname in shown and address in shown, shown
    after = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
    assert before.difference(after) == []


def test_a_pod_sandbox_gets_all_networks(
    containerd_host: ContainerdHost, cni_node: Node, conf: Conf, tmp_path: Path
) -> None:
    containerd_host.network(conf())
    containerd_host.wait_until_network_is(True)
    before = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
    with containerd_host.sandbox("web", uid="0f0f-1") as sandbox:
        links = containerd_host.links(sandbox)
        assert set(links) == set(ADDRESSES)
        for ifname, link in links.items():
            assert link["addr_info"][0]["local"].startswith(ADDRESSES[ifname])
        assert containerd_host.cri.addresses(sandbox) == ["10.91.0.2"]
    after = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
    assert before.difference(after) == []


def test_the_runtime_reports_every_address_when_asked_for_all(
    containerd_host: ContainerdHost, conf: Conf
) -> None:
    containerd_host.network(conf(merger="all"))
    containerd_host.wait_until_network_is(True)
    with containerd_host.sandbox("web") as sandbox:
        # containerd reports what is on eth0; the others are in the result that it keeps.
        assert containerd_host.cri.addresses(sandbox)[0] == "10.91.0.2"
        assert set(containerd_host.links(sandbox)) == set(ADDRESSES)


def test_a_network_that_fails_fails_the_sandbox_and_leaves_nothing(
    containerd_host: ContainerdHost, cni_node: Node, conf: Conf, tmp_path: Path
) -> None:
    import grpc

    delegates = [*conf()["delegates"], {"type": "ptp", "mtu": 10, "ipam": {"type": "static"}}]
    containerd_host.network(conf(delegates=delegates))
    containerd_host.wait_until_network_is(True)
    before = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
    with pytest.raises(grpc.RpcError, match="net2"):
        with containerd_host.sandbox("web"):
            pass
    after = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
    assert before.difference(after) == []
