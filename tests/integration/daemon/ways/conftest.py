"""The black-box suite once more, through the daemon: by the C shim, and by the Python one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from attrs import evolve

from integration.blackbox.program import Multus
from integration.daemon.node import Daemon
from multus.testing.delegates import BinDir
from multus.testing.netns import Node
from multus.testing.runtime import Runtime


@pytest.fixture(scope="session")
def cni_node() -> Iterator[Node]:
    """One node for all, since the daemon stays on it."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root, at least of a user namespace")
    node = Node.create()
    yield node
    node.remove()


@pytest.fixture(scope="session")
def daemon(cni_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    running = Daemon(folder, cni_node, {"cniDir": str(folder / "state")}).start()
    yield running
    running.stop()


@pytest.fixture(params=["c", "python"])
def multus(
    request: pytest.FixtureRequest,
    programs: Mapping[str, str],
    daemon: Daemon,
    cni_runtime: Runtime,
    cni_bin: BinDir,
    cni_node: Node,
    tmp_path: Path,
) -> Multus:
    """The shims in the place of the installed program."""
    if request.param not in programs:
        pytest.skip("no C compiler")
    environ = {**daemon.environ(), "ASAN_OPTIONS": "detect_leaks=0"}
    program = (programs[request.param],)
    return Multus(
        runtime=evolve(cni_runtime, program=program, environ=environ),
        bin=cni_bin,
        node=cni_node,
        cni_dir=str(tmp_path / "multus"),
        ipam_dir=str(tmp_path / "ipam"),
    )
