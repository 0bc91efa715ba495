from __future__ import annotations

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
