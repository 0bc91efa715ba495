"""The benchmark's pods of containerd have the networks that their row names."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench import sandboxes
from bench.subjects import Subjects
from e2e.conftest import require
from e2e.containerd import PROGRAMS
from multus.netlink import Namespace
from multus.testing.delegates import real_plugin
from multus.testing.netns import Node

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or real_plugin("portmap") is None, reason="needs root and the real plugins"
)


def test_pods_of_each_row_start_and_are_compared_with_the_first_row(
    cni_node: Node, tmp_path: Path
) -> None:
    require(*PROGRAMS)
    reason = sandboxes.reason_against()
    if reason:
        pytest.skip(reason)
    with ExitStack() as stack:
        stack.enter_context(stack.enter_context(Namespace(cni_node.path)).entered())
        subjects = Subjects(stack, str(tmp_path))
        rows = subjects.sandboxes([])
        found = sandboxes.measure(rows, subjects.cluster, cni_node, 1, str(tmp_path), at_once=2)
    assert [each.way for each in found] == [each.name for each in rows]
    assert found[0].ratio == 1
    assert all(0 < each.one <= each.until_all for each in found)
