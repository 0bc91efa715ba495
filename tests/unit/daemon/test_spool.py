from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import define, field

from multus.daemon import wire
from multus.daemon.metrics import Metrics
from multus.daemon.spool import Spool
from multus.log import Log


@define
class Handler:
    """Carries DELs out: those of containers in ``failing`` fail."""

    failing: set[str] = field(factory=set)
    done: list[str] = field(factory=list)

    def __call__(
        self, environ: Mapping[str, str], stdin: bytes, deadline: float
    ) -> tuple[int, bytes]:
        assert environ["CNI_COMMAND"] == "DEL"
        assert deadline > time.monotonic()
        container = environ["CNI_CONTAINERID"]
        if container in self.failing:
            return 1, b'{"code": 11}'
        self.done.append(container)
        return 0, b""


def keep(state: Path, container: str, moment: int) -> Path:
    folder = state / ".spool"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    environ = {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": container}
    path = folder / f"{moment:020d}.{container}"
    path.write_bytes(wire.Message(wire.CNI, b"{}", environ).encode())
    path.chmod(0o600)
    return path


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def spool(tmp_path: Path, handler: Handler) -> Spool:
    log = Log.from_conf({"logToStderr": False, "logFile": str(tmp_path / "log")})
    return Spool(str(tmp_path / "state"), handler, Metrics(), log)


def soon() -> float:
    return time.monotonic() + 30


def test_dels_are_carried_out_in_order_and_forgotten(
    tmp_path: Path, handler: Handler, spool: Spool
) -> None:
    for moment, container in ((3, "c"), (1, "a"), (2, "b")):
        keep(tmp_path / "state", container, moment)
    spool.replay(soon())
    assert handler.done == ["a", "b", "c"]
    assert spool.waiting() == []


def test_without_a_folder_there_is_nothing_to_do(handler: Handler, spool: Spool) -> None:
    spool.replay(soon())
    spool.replay_of("a")
    assert handler.done == []


def test_a_failing_del_stays_and_is_tried_again_later(
    tmp_path: Path, handler: Handler, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path / "state", "a", 1)
    keep(tmp_path / "state", "b", 2)
    handler.failing.add("a")
    spool.replay(soon())
    assert handler.done == ["b"]
    handler.failing.clear()
    spool.replay(soon())
    assert handler.done == ["b"], "it was tried again at once"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 10)
    spool.replay(now + 40)
    assert handler.done == ["b", "a"]
    assert spool.waiting() == []


def test_a_containers_dels_are_carried_out_before_its_next_call(
    tmp_path: Path, handler: Handler, spool: Spool
) -> None:
    spool.replay_of("a")
    keep(tmp_path / "state", "a", 1)
    keep(tmp_path / "state", "b.c", 2)
    spool.replay_of("b.c")
    assert handler.done == ["b.c"]
    spool.replay_of("a")
    assert handler.done == ["b.c", "a"]


def test_looking_for_nothing_costs_no_listing(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path / "state", "a", 1).unlink()
    time.sleep(0.06)
    spool.replay_of("a")
    listed: list[object] = []

    def listdir(path: str) -> list[str]:
        listed.append(path)
        return []

    monkeypatch.setattr(os, "listdir", listdir)
    spool.replay_of("a")
    assert listed == []
    keep(tmp_path / "state", "a", 1)
    spool.replay_of("a")
    assert listed


@pytest.mark.parametrize("kind", ["torn", "garbage", "empty", "writable", "link", "folder", "pipe"])
def test_what_no_shim_wrote_is_set_aside_and_stops_nothing(
    tmp_path: Path, handler: Handler, spool: Spool, kind: str
) -> None:
    state = tmp_path / "state"
    path = keep(state, "bad", 1)
    keep(state, "good", 2)
    data = path.read_bytes()
    if kind == "torn":
        path.write_bytes(data[:-1])
    elif kind == "garbage":
        path.write_bytes(os.urandom(100))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "writable":
        path.chmod(0o666)
    elif kind == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.unlink()
        os.mkfifo(path, 0o600) if kind == "pipe" else path.mkdir()
    spool.replay(soon())
    assert handler.done == ["good"]
    assert spool.waiting() == []
    assert (path.parent / f".damaged-{path.name}").is_symlink() or (
        path.parent / f".damaged-{path.name}"
    ).exists()


def test_a_folder_that_others_can_write_to_is_not_trusted(
    tmp_path: Path, handler: Handler, spool: Spool
) -> None:
    keep(tmp_path / "state", "a", 1)
    (tmp_path / "state" / ".spool").chmod(0o777)
    spool.replay(soon())
    assert handler.done == []


def test_it_stops_when_time_is_up(tmp_path: Path, handler: Handler, spool: Spool) -> None:
    keep(tmp_path / "state", "a", 1)
    spool.replay(time.monotonic() - 1)
    assert handler.done == []
    assert len(spool.waiting()) == 1


def test_two_threads_carry_nothing_out_twice(
    tmp_path: Path, handler: Handler, spool: Spool
) -> None:
    for number in range(20):
        keep(tmp_path / "state", f"c{number}", number)
    threads = [threading.Thread(target=spool.replay, args=(soon(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert handler.done == [f"c{number}" for number in range(20)]
