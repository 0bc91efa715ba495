from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.whereabouts.cluster import Node
from multus.testing.apiserver import ApiServer


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def node(api: ApiServer, tmp_path: Path) -> Node:
    return Node(api, api.write_kubeconfig(tmp_path), str(tmp_path / "cni"))


@pytest.fixture
def nodes(api: ApiServer, tmp_path: Path) -> Callable[[int], list[Node]]:
    kubeconfig = api.write_kubeconfig(tmp_path)
    return lambda count: [Node(api, kubeconfig, str(tmp_path / f"n{n}")) for n in range(count)]


@pytest.fixture
def ipam(node: Node) -> Callable[..., tuple[int, str]]:
    """Runs the command in this node's cluster; returns its status and what it printed."""

    def run(*words: str) -> tuple[int, str]:
        argv = [sys.executable, "-m", "multus", "ipam", *words, "--kubeconfig", node.kubeconfig]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    return run
