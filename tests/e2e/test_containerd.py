"""containerd runs pods whose networks are Multus': by CRI as the kubelet does, and by ctr."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import becomes

from e2e.containerd import ContainerdHost
from multus.cli import main
from multus.healing.cri import sandboxes
from multus.testing.apiserver import ApiServer
from multus.testing.netns import Node, inside

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
        assert sandboxes(str(containerd_host.folder / "socket")) == {sandbox}
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


def _addresses(links: dict[str, dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """What a link is known by, without what the kernel changes by itself (IPv6, flags)."""
    return {name: (each["address"], each["addr_info"][0]["local"]) for name, each in links.items()}


def test_a_restart_of_the_runtime_changes_nothing(
    containerd_host: ContainerdHost, cni_node: Node, conf: Conf, tmp_path: Path
) -> None:
    containerd_host.network(conf())
    containerd_host.wait_until_network_is(True)
    before = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
    with containerd_host.sandbox("web") as sandbox:
        addresses = _addresses(containerd_host.links(sandbox))
        containerd_host.stop()
        containerd_host.start()
        containerd_host.wait_until_network_is(True)
        assert _addresses(containerd_host.links(sandbox)) == addresses
    after = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
    assert before.difference(after) == []


class TestWithACluster:
    """The kubelet's part is played by the test: the pod is in the API, and CRI is told of it."""

    NETWORKS = "k8s.v1.cni.cncf.io/networks"
    STATUS = "k8s.v1.cni.cncf.io/network-status"

    @pytest.fixture
    def cluster(self, cni_api: ApiServer, conf: Conf, kubeconfig: str) -> dict[str, Any]:
        """Two definitions in the API; the configuration offers the third network to every pod."""
        *others, pods = conf()["delegates"]
        for each in others:
            cni_api.create(
                {
                    "apiVersion": "k8s.cni.cncf.io/v1",
                    "kind": "NetworkAttachmentDefinition",
                    "metadata": {"name": each["name"], "namespace": "default"},
                    "spec": {"config": json.dumps({"cniVersion": "1.0.0", **each})},
                }
            )
        return conf(delegates=[pods], kubeconfig=kubeconfig)

    def pod(self, api: ApiServer, networks: str) -> dict[str, Any]:
        created = api.create_pod("web", {self.NETWORKS: networks})
        return dict(created)

    def test_a_pod_gets_what_its_annotation_asks_for(
        self,
        containerd_host: ContainerdHost,
        cni_api: ApiServer,
        cni_node: Node,
        cluster: dict[str, Any],
        tmp_path: Path,
    ) -> None:
        containerd_host.network(cluster)
        containerd_host.wait_until_network_is(True)
        pod = self.pod(cni_api, "control,storage@disk")
        before = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
        with containerd_host.sandbox("web", uid=pod["metadata"]["uid"]) as sandbox:
            links = containerd_host.links(sandbox)
            assert {name: link["addr_info"][0]["local"] for name, link in links.items()} == {
                "eth0": "10.91.0.2",
                "net1": "10.92.0.2",
                "disk": "10.93.0.7",
            }
            assert containerd_host.cri.addresses(sandbox) == ["10.91.0.2"]
            status = json.loads(cni_api.get(pod)["metadata"]["annotations"][self.STATUS])
            assert [(each["name"], each["interface"]) for each in status] == [
                ("pods", "eth0"),
                ("default/control", "net1"),
                ("default/storage", "disk"),
            ]
        after = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
        assert before.difference(after) == []

    def test_the_networks_of_a_running_pod_follow_its_annotation(
        self,
        containerd_host: ContainerdHost,
        cni_api: ApiServer,
        cni_node: Node,
        cluster: dict[str, Any],
        request: pytest.FixtureRequest,
        tmp_path: Path,
    ) -> None:
        """The daemon follows; without one, somebody calls ``multus apply``."""
        by_hand = request.node.callspec.params["program"] != "daemon"

        def shown() -> dict[str, list[str]]:
            status = json.loads(cni_api.get(pod)["metadata"]["annotations"][self.STATUS])
            return {each["interface"]: each["ips"] for each in status}

        def annotate(networks: str | None) -> None:
            cni_api.annotate("web", {self.NETWORKS: networks})
            if by_hand:
                with inside(cni_node):
                    assert main(["apply", "web", "--cni-dir", str(tmp_path / "multus")]) == 0

        containerd_host.network(cluster)
        containerd_host.wait_until_network_is(True)
        pod = cni_api.create_pod("web")
        before = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
        with containerd_host.sandbox("web", uid=pod["metadata"]["uid"]) as sandbox:
            own = {"eth0": ["10.91.0.2"]}
            annotate("control,storage@disk")
            becomes(shown, {**own, "net1": ["10.92.0.2"], "disk": ["10.93.0.7"]})
            assert set(containerd_host.links(sandbox)) == {"eth0", "net1", "disk"}
            annotate("storage")
            becomes(shown, {**own, "net1": ["10.93.0.7"]})
            annotate(None)
            becomes(shown, own)
            assert set(containerd_host.links(sandbox)) == {"eth0"}
        after = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
        assert before.difference(after) == []

    def test_a_network_that_nobody_defined_keeps_the_pod_from_starting(
        self,
        containerd_host: ContainerdHost,
        cni_api: ApiServer,
        cluster: dict[str, Any],
    ) -> None:
        import grpc

        containerd_host.network(cluster)
        containerd_host.wait_until_network_is(True)
        pod = self.pod(cni_api, "control,nobody")
        with pytest.raises(grpc.RpcError, match="nobody"):
            with containerd_host.sandbox("web", uid=pod["metadata"]["uid"]):
                pass
