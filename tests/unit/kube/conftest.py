from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE

from multus.api.kubernetes import Deadline
from multus.kube.client import KubeClient
from multus.kube.kubeconfig import load_kubeconfig
from multus.testing.apiserver import ApiServer


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def connect(api: ApiServer, tmp_path: Path) -> Iterator[Callable[..., KubeClient]]:
    """Make clients of the stand-in, with any credentials; they are closed at the end."""
    made: list[KubeClient] = []

    def new(proof: str = "token", *, cni_dir: str = "", **cluster: Any) -> KubeClient:
        access = load_kubeconfig(api.write_kubeconfig(tmp_path, proof, **cluster))
        client = KubeClient(access, cni_dir=cni_dir)
        made.append(client)
        return client

    yield new
    for client in made:
        client.close()


@pytest.fixture
def soon() -> Deadline:
    return Deadline.after(PATIENCE)


@pytest.fixture
def threads() -> Callable[[], list[str]]:
    """The names of the threads that follow a list or write, and that run since the test began."""
    others = threading.enumerate()

    def running() -> list[str]:
        names = [each.name for each in threading.enumerate() if each not in others]
        return [each for each in names if each.startswith("follow ") or each == "queued writes"]

    return running
