"""The black-box suite: environment and stdin in, stdout and exit status out, three ways in."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.blackbox.program import Multus
from multus.testing.delegates import BinDir
from multus.testing.netns import Node
from multus.testing.runtime import Runtime


@pytest.fixture
def multus(cni_runtime: Runtime, cni_bin: BinDir, cni_node: Node, tmp_path: Path) -> Multus:
    """The installed program, on a node of its own."""
    return Multus(
        runtime=cni_runtime,
        bin=cni_bin,
        node=cni_node,
        cni_dir=str(tmp_path / "multus"),
        ipam_dir=str(tmp_path / "ipam"),
    )
