"""Files below ``cniDir`` that are not regular are not opened, written or removed."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from multus_invoker_sriov.claims import Claims
from waiting import PATIENCE

from multus.api.errors import CNIError

if TYPE_CHECKING:
    from conftest import Bench


def _fifo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("name", ["c1-net1", ".c1-net1.new", "pci/{pci}", "pci/vf_lock/{pci}.lock"])
def test_a_fifo_in_the_place_of_a_file_is_an_error_at_once(bench: Bench, name: str) -> None:
    pci = bench.card.vf(0)
    fifo = _fifo(bench.state / "sriov" / name.format(pci=pci))
    config, before, began = bench.config(), bench.snapshot(), time.monotonic()
    with pytest.raises(CNIError, match="it is a FIFO, not a regular file"):
        bench.add(config)
    bench.delete(config)
    assert time.monotonic() - began < PATIENCE
    assert stat.S_ISFIFO(os.lstat(fifo).st_mode)
    assert bench.snapshot() == before
    fifo.unlink()
    bench.add(config)
    bench.delete(config)
    assert bench.snapshot() == before


def test_others_in_the_folder_are_passed_over(bench: Bench) -> None:
    fifo = _fifo(bench.state / "sriov" / "c9-net1")
    bench.add(bench.config())
    found = Claims(str(bench.state / "sriov")).records()
    assert [each.container_id for each in found] == ["c1"]
    bench.delete(bench.config())
    assert stat.S_ISFIFO(os.lstat(fifo).st_mode)
