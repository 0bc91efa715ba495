"""A stand-in for an SR-IOV card, which the program's in-process invoker uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from multus.testing.netns import Node
from multus.testing.runtime import Runtime
from multus.testing.sriov import Card


@pytest.fixture
def card(cni_node: Node, tmp_path: Path) -> Card:
    card = Card.build(str(tmp_path / "sys"), cni_node)
    card.install_plugin(str(tmp_path / "site"))
    return card


@pytest.fixture
def runtime(cni_runtime: Runtime, card: Card, tmp_path: Path) -> Runtime:
    environ = {**cni_runtime.environ, "PYTHONPATH": str(tmp_path / "site")}
    return evolve(cni_runtime, environ=environ)
