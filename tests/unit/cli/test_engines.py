"""Warm engines as their locks show them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from multus.api.errors import IOFailure
from multus.cli import engines
from multus.cni import warm


def test_an_engine_that_never_starts_is_waited_for_within_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_PATIENCE", 0.05)
    lock = tmp_path / "warm.0.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(IOFailure, match=r"holds .*warm\.0\.lock and does not end"):
            list(engines.end(str(tmp_path)))
    assert lock.exists()


def test_while_an_engine_starts_its_lock_does_not_name_a_killed_one(tmp_path: Path) -> None:
    (tmp_path / "warm.0.lock").write_text(f"{os.getpid()}\n")
    held = warm._locked(str(tmp_path / "warm.0"))
    try:
        (found,) = engines.found(str(tmp_path))
        assert found.process == -1
    finally:
        os.close(held)


def test_what_a_daemon_and_engines_have_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "multus"
    folder.mkdir()
    for name in ("warm.0.log", "multus.sock.lock"):
        (folder / name).touch()
    assert list(engines.tidy(str(folder))) == []
    assert not folder.exists()
    assert list(engines.tidy(str(folder))) == []


def test_a_daemon_that_runs_keeps_its_lock(tmp_path: Path) -> None:
    lock, other = tmp_path / "multus.sock.lock", tmp_path / "warm.0.log"
    other.touch()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (said,) = engines.tidy(str(tmp_path))
    assert f"{lock} stays" in said
    assert lock.exists() and not other.exists()
