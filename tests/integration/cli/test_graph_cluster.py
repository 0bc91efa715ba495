"""``multus graph --kubeconfig``: a cluster's tables on a terminal and for programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from integration.cli.terminal import on_terminal
from multus.picture.cluster.reading import ASKED, STATUS
from multus.testing.apiserver import ApiServer


def pod(api: ApiServer, name: str, node: str, network: str, address: str) -> None:
    entry = {"name": network, "interface": "net1", "ips": [address]}
    api.create_pod(name, {STATUS: json.dumps([entry])}, namespace="shop", node=node)


@pytest.fixture
def command(tmp_path: Path) -> Iterator[list[str]]:
    """The command, for a cluster in which two pods have one address and one has no status."""
    with ApiServer() as api:
        pod(api, "web", "node-a", "shop/storage", "10.9.0.2")
        pod(api, "db", "node-b", "shop/storage", "10.9.0.2")
        pod(api, "cart", "node-b", "shop/storage", "10.9.0.10")
        api.create_pod("new", {ASKED: "storage"}, namespace="shop", node="node-b")
        kubeconfig = api.write_kubeconfig(tmp_path)
        yield [sys.executable, "-m", "multus", "graph", "--kubeconfig", kubeconfig]


def run(command: Sequence[str], *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *more], capture_output=True, text=True, check=False)


def test_addresses_counts_and_problems_are_shown(command: list[str]) -> None:
    done = run(command)
    assert done.returncode == 1
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["shop/storage", "10.9.0.2", "!", "shop/db", "net1", "node-b"] in rows
    assert ["shop/storage", "10.9.0.10", "shop/cart", "net1", "node-b"] in rows
    assert ["node-b", "2"] in rows
    assert "duplicate: 10.9.0.2 in network shop/storage: shop/db on node-b" in done.stdout
    assert "no status: shop/new on node-b asked for storage" in done.stdout
    assert "2 nodes, 1 network, 3 pods, 3 attachments" in done.stdout


def test_a_narrow_terminal_gets_no_wider_line(command: list[str]) -> None:
    with on_terminal(command, 60) as terminal:
        assert terminal.ended() == 1
    assert terminal.too_wide() == []


def test_programs_get_all_of_it(command: list[str]) -> None:
    found = json.loads(run(command, "--json").stdout)
    assert found["counts"]["node-a"] == {"shop/storage": 1}
    assert [each["address"] for each in found["duplicates"]] == ["10.9.0.2"]
    assert found["waiting"][0]["holder"]["pod"] == "shop/new"


def test_a_drawing_is_of_a_node(command: list[str]) -> None:
    done = run(command, "--svg", "-")
    assert done.returncode == 2
    assert "--svg draws a node" in done.stderr
