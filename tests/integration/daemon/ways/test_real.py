from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.blackbox.test_real import *  # noqa: F403
from integration.daemon.node import Daemon
from multus.testing.netns import Node


@pytest.fixture
def cni_node() -> Iterator[Node]:
    """A node for each test: bridges and rules of one are in the way of another."""
    node = Node.create()
    yield node
    node.remove()


@pytest.fixture
def daemon(cni_node: Node, tmp_path: Path) -> Iterator[Daemon]:
    running = Daemon(tmp_path / "daemon", cni_node, {"cniDir": str(tmp_path / "daemon")}).start()
    yield running
    running.stop()
