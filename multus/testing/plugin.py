"""Fixtures for pytest, known wherever Multus is installed.

``cni_node`` plays the host, ``cni_pod`` is a pod's network namespace, ``cni_bin`` is a folder of
delegates, ``cni_runtime`` calls ``cni_program`` there, ``cni_api`` is a Kubernetes API server.  A
project overrides ``cni_program`` to run the same tests against another program.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

if TYPE_CHECKING:
    from pathlib import Path

    from multus.testing.apiserver import ApiServer
    from multus.testing.delegates import BinDir
    from multus.testing.netns import Netns, Node
    from multus.testing.runtime import Container, Runtime


@pytest.fixture
def cni_node() -> Iterator[Node]:
    """A network namespace that plays the host; skips where none can be made."""
    from multus.testing.netns import Node

    if os.geteuid() != 0:
        pytest.skip("network namespaces need root, at least of a user namespace")
    node = Node.create()
    yield node
    node.remove()


@pytest.fixture
def cni_pods(cni_node: Node) -> Iterator[Callable[[], Netns]]:
    """Makes pods' network namespaces, as many as asked for."""
    from multus.testing.netns import Netns

    pods: list[Netns] = []

    def make() -> Netns:
        pods.append(Netns.create("pod"))
        return pods[-1]

    yield make
    for pod in pods:
        pod.remove()


@pytest.fixture
def cni_pod(cni_pods: Callable[[], Netns]) -> Netns:
    """One pod's network namespace."""
    return cni_pods()


@pytest.fixture
def cni_container(cni_pod: Netns) -> Container:
    """A container in that pod."""
    from multus.testing.runtime import Container

    return Container(cni_pod.path)


@pytest.fixture
def cni_bin(tmp_path: Path) -> BinDir:
    """An empty folder of delegates: put ``real()`` plugins and stand-ins in."""
    from multus.testing.delegates import BinDir

    return BinDir(str(tmp_path / "bin"))


@pytest.fixture
def cni_api(cni_node: Node) -> Iterator[ApiServer]:
    """A Kubernetes API server that the node's programs reach, empty, and of every dialect."""
    from multus.testing.apiserver import ApiServer

    with ApiServer(netns=cni_node.path) as api:
        yield api


@pytest.fixture
def cni_program() -> tuple[str, ...]:
    """The installed program, as an argument vector."""
    from multus.testing.runtime import installed_program

    return installed_program()


@pytest.fixture
def cni_runtime(cni_program: tuple[str, ...], cni_bin: BinDir, cni_node: Node) -> Runtime:
    """A runtime on that node, which finds its plugins in that folder.

    The program runs the engine itself: a daemon of this machine has other plugins.
    """
    from multus.testing.runtime import Runtime

    runtime = Runtime(cni_program, cni_bin.path, cni_node)
    return evolve(runtime, environ={**runtime.environ, "MULTUS_STANDALONE": "1"})
