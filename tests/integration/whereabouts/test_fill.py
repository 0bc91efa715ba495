"""The simulation that says how large a range may become: its counts are those of its cluster."""

from __future__ import annotations

import pytest

from bench import fillblocks
from bench.fill import main, measure, project


def test_it_counts_what_a_range_costs() -> None:
    empty, used = measure(nodes=2, pods=3), measure(nodes=2, pods=3, used=1000)
    for found, first in ((empty, 1), (used, 1001)):
        assert sorted(found.addresses) == list(range(first, first + 6))
        # Each pod has a reservation; the pool is one object more.
        assert found.objects == 7
        # A node starts its pods one after the other: none of them share a write.
        assert found.writes - found.refused == 12
        assert found.repeated == 0
    # Each write of the pool sends all of it to each node.
    more = 6 * 1000 * used.allocation
    assert used.watched - empty.watched == pytest.approx(more, rel=0.1)
    assert used.pool - empty.pool == pytest.approx(1000 * used.allocation, rel=0.1)


def test_a_larger_cluster_is_computed_from_the_measured_sizes() -> None:
    found = measure(nodes=1, pods=60)
    # What the watches say is enough for a node that is alone.
    assert found.reads == found.refused == 0
    computed = project(found, nodes=3, pods=60)
    assert computed.pool == pytest.approx(found.pool, rel=0.1)
    # Without what each event has beside the addresses.
    assert 0.7 * found.watched < computed.watched < found.watched
    assert computed.sent == 3 * computed.watched


def test_it_prints_both_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--nodes", "1", "--pods", "2", "--cluster", "100", "3000"]) == 0
    said = capsys.readouterr().out
    assert "1 nodes, 2 pods, 0 addresses in use before" in said
    assert "writes that were made     2.00" in said
    assert "100 nodes, 3000 pods on one pool (computed)" in said
    assert "1 nodes, 2 pods, in blocks of /28" in said
    assert "100 nodes, 3000 pods, in blocks of /28 (computed)" in said


def test_blocks_cost_a_request_for_each_and_none_for_a_pod() -> None:
    found = fillblocks.measure(nodes=3, pods=40)
    # Each node asks whether it exists, and whether the range has blocks, until its watch says so.
    # The first block of the range lacks an address, so that a node may need a fourth one.
    blocks = found.objects - 1
    assert 9 <= blocks <= 12
    assert blocks + 3 <= found.requests - 2 * found.refused <= blocks + 3 * 5
    computed = fillblocks.project(found, nodes=3, pods=120)
    assert computed.objects == 10
    assert computed.watched == pytest.approx(found.watched * 9 / blocks, rel=0.01)
