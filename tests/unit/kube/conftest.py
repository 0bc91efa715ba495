from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from multus.kube.client import KubeClient
from multus.kube.deadline import Deadline
from multus.kube.kubeconfig import load_kubeconfig
from multus.testing.apiserver import ApiServer


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def connect(api: ApiServer, tmp_path: Path) -> Iterator[Callable[..., KubeClient]]:
    """Make clients of the stand-in, by any proof; they are closed at the end."""
    made: list[KubeClient] = []

    def new(proof: str = "token", **cluster: Any) -> KubeClient:
        client = KubeClient(load_kubeconfig(api.write_kubeconfig(tmp_path, proof, **cluster)))
        made.append(client)
        return client

    yield new
    for client in made:
        client.close()


@pytest.fixture
def soon() -> Deadline:
    return Deadline.after(5.0)
