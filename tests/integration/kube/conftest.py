"""A node with an API server, the installed program, and real delegates."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.kube.cluster import Cluster
from multus.testing.apiserver import ApiServer
from multus.testing.delegates import BinDir
from multus.testing.netns import Node
from multus.testing.runtime import Runtime


@pytest.fixture
def api(cni_api: ApiServer) -> ApiServer:
    """The test kit's; a test may override it."""
    return cni_api


@pytest.fixture
def cluster(
    api: ApiServer, cni_runtime: Runtime, cni_bin: BinDir, cni_node: Node, tmp_path: Path
) -> Cluster:
    """One node of a cluster; its folder of plugins has the system's."""
    cni_bin.real(
        "bridge", "host-local", "macvlan", "ptp", "static", "tuning", "portmap", "bandwidth"
    )
    return Cluster(
        api, cni_runtime, cni_bin, cni_node, str(tmp_path), api.write_kubeconfig(tmp_path)
    )
