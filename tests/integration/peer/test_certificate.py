"""``perNodeCertificate``: a client certificate of the node's own, in place of a kubeconfig's."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from waiting import PATIENCE, becomes, eventually

from integration.daemon.node import Daemon
from integration.kube.cluster import NETWORKS, Cluster
from integration.peer.certapprover import REQUESTS, CertApprover
from integration.peer.goclient import GoClient
from multus.testing.apiserver import ApiServer
from multus.testing.apiserver.store import CORE_KINDS, NETWORK_KINDS
from multus.testing.netns import Netns, Node


@pytest.fixture
def api(cni_node: Node) -> Iterator[ApiServer]:
    kinds = (*CORE_KINDS, *NETWORK_KINDS, REQUESTS)
    with ApiServer(kinds, netns=cni_node.path) as server:
        yield server


@frozen
class Certified:
    """A node whose daemon has a certificate of its own, kept in *folder*."""

    cluster: Cluster
    daemon: Daemon
    folder: Path

    @property
    def go(self) -> GoClient:
        return GoClient(self.daemon.socket)

    @property
    def current(self) -> Path:
        return self.folder / "multus-client-current.pem"

    def forget_bootstrap(self) -> None:
        """Make the bootstrap's credentials worthless."""
        self.cluster.api.access.token = "another"

    def add(self, netns: Netns) -> dict[str, Any]:
        conf = self.cluster.default(kubeconfig=None, type="multus-shim")
        container = self.cluster.pod(netns, {NETWORKS: "back"})
        return self.go.cni("ADD", conf, container, self.cluster.bin.path).result


@pytest.fixture
def certified(cluster: Cluster, cni_node: Node, tmp_path: Path) -> Iterator[Certified]:
    cluster.bridge("back", "10.2.0")
    folder = tmp_path / "certificates"
    certificate = {
        "enabled": True,
        "bootstrapKubeconfig": cluster.kubeconfig,
        "certDir": str(folder),
        "certDuration": "24h",
    }
    settings = {
        "cniDir": f"{cluster.folder}/multus",
        "nodeName": "n1",
        "perNodeCertificate": certificate,
        "logLevel": "verbose",
    }
    made = Certified(cluster, Daemon(tmp_path / "daemon", cni_node, settings), folder)
    yield made
    made.daemon.stop()


def test_the_node_gets_a_certificate_and_uses_it_alone(
    certified: Certified, cni_pod: Netns
) -> None:
    with CertApprover(certified.cluster.api) as approver:
        certified.daemon.start()
        eventually(certified.current.exists)
    certified.forget_bootstrap()
    becomes(lambda: certified.go.state("/readyz"), 200)
    certified.add(cni_pod)
    assert set(cni_pod.links()) == {"eth0", "net1"}
    becomes(lambda: len(certified.cluster.status()), 2)
    (asked,) = approver.served
    assert asked["spec"]["username"] == "system:node:n1"
    assert asked["spec"]["expirationSeconds"] == 24 * 3600


def test_the_key_is_for_root_alone(certified: Certified) -> None:
    with CertApprover(certified.cluster.api):
        certified.daemon.start()
        eventually(certified.current.exists)
    assert stat.S_IMODE(certified.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(certified.current.stat().st_mode) == 0o600


def test_it_is_renewed_before_it_ends_with_the_certificate_of_now(
    certified: Certified, cni_pod: Netns
) -> None:
    # The next one has to be there before this one ends, also on a slow machine.
    with CertApprover(certified.cluster.api, seconds=int(PATIENCE / 10)) as approver:
        certified.daemon.start()
        eventually(certified.current.exists)
        certified.forget_bootstrap()
        first = certified.current.resolve().name
        eventually(lambda: len(approver.served) >= 2)
        approver.seconds = 3600
        last = len(approver.served) + 1
        eventually(lambda: len(approver.served) >= last)
        becomes(lambda: len(list(certified.folder.glob("multus-client-2*.pem"))), 1)
        assert certified.current.resolve().name != first
        assert approver.served[-1]["spec"]["username"] == "system:multus:n1"
        becomes(lambda: certified.go.state("/readyz"), 200)
        certified.add(cni_pod)


def test_a_certificate_of_the_go_multus_is_used_while_it_is_valid(certified: Certified) -> None:
    with CertApprover(certified.cluster.api) as approver:
        certified.daemon.start()
        eventually(certified.current.exists)
        certified.daemon.stop()
        # The Go Multus' link names the whole path.
        whole = os.path.realpath(certified.current)
        certified.current.unlink()
        certified.current.symlink_to(whole)
        certified.forget_bootstrap()
        certified.daemon.start()
        becomes(lambda: certified.go.state("/readyz"), 200)
        assert len(approver.served) == 1


def test_without_a_certificate_the_daemon_is_not_ready_and_pods_wait(
    certified: Certified, cni_pod: Netns
) -> None:
    with CertApprover(certified.cluster.api, approves=False):
        certified.daemon.start()
        eventually(lambda: "not today" in certified.daemon.log)
        assert certified.go.state("/readyz") == 500
        conf = certified.cluster.default(kubeconfig=None, type="multus-shim")
        container = certified.cluster.pod(cni_pod, {NETWORKS: "back"})
        found = certified.go.cni("ADD", conf, container, certified.cluster.bin.path)
        assert (found.status, found.json["code"]) == (400, 11)
        assert cni_pod.links() == {}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"bootstrapKubeconfig": ""}, "perNodeCertificate.bootstrapKubeconfig"),
        ({"certDir": None}, "perNodeCertificate.certDir"),
        ({"certDuration": "5m"}, "certDuration"),
        ({"certDuration": "a day"}, "certDuration"),
        ({"certDuration": "9000h"}, "certDuration"),
        ({"bootstrapKubeconfig": "/nowhere/kubeconfig"}, "/nowhere/kubeconfig"),
    ],
)
def test_wrong_settings_keep_the_daemon_from_starting(
    certified: Certified, changed: dict[str, Any], named: str
) -> None:
    keys = {**certified.daemon.settings["perNodeCertificate"], **changed}
    settings = {**certified.daemon.settings, "perNodeCertificate": keys}
    daemon = evolve(certified.daemon, settings=settings)
    daemon.spawn()
    assert daemon.process is not None
    assert daemon.process.wait(60) != 0
    assert named in daemon.stderr


def test_a_disabled_certificate_changes_nothing(certified: Certified) -> None:
    keys = {"enabled": False, "bootstrapKubeconfig": "", "certDir": ""}
    settings = {
        **certified.daemon.settings,
        "perNodeCertificate": keys,
        "kubeconfig": certified.cluster.kubeconfig,
    }
    daemon = evolve(certified.daemon, settings=json.loads(json.dumps(settings)))
    daemon.start()
    becomes(lambda: GoClient(daemon.socket).state("/readyz"), 200)
    daemon.stop()
    assert not certified.folder.exists()
