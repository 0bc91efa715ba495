"""The spool: its files, when each is due, and the replay of one DEL."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import define, field

from multus.daemon import spool as spools
from multus.daemon import wire
from multus.daemon.spool import Spool
from multus.daemon.spooled import carry_out
from multus.log import Log


@define
class Handler:
    """Carries out DELs; those of containers in ``failing`` fail."""

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


def keep(state: Path, container: str, moment: int, command: str = "DEL") -> Path:
    folder = state / ".spool"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    environ = {"CNI_COMMAND": command, "CNI_CONTAINERID": container}
    path = folder / f"{moment:020d}.{container}"
    path.write_bytes(wire.Message(wire.CNI, b"{}", environ).encode())
    path.chmod(0o600)
    return path


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log.from_conf({"logToStderr": False, "logFile": str(tmp_path / "log")})


@pytest.fixture
def spool(state: Path, log: Log) -> Spool:
    return Spool(str(state), log)


# --- The files ------------------------------------------------------------------------------------


def test_the_oldest_comes_first_and_one_of_each_container(state: Path, spool: Spool) -> None:
    kept = [keep(state, name, at) for at, name in ((3, "c"), (1, "a"), (2, "b"), (4, "a"))]
    names = [str(kept[index]) for index in (1, 2, 0)]
    assert spool.due(time.monotonic()) == names
    assert spool.waiting() == [*names, str(kept[3])]
    assert spool.of("a") == (str(kept[1]), str(kept[3]))
    assert spool.of("b.c") == ()


def test_without_a_folder_the_spool_is_empty(spool: Spool) -> None:
    assert spool.waiting() == spool.due(time.monotonic()) == []
    assert spool.of("a") == ()


def test_a_failed_del_is_retried_with_growing_pauses(state: Path, spool: Spool) -> None:
    path = str(keep(state, "a", 1))
    for pause in (2, 4, 8):
        before = time.monotonic()
        spool.ended(path, "failed", "the card is busy")
        assert spool.due(before + pause - 1) == []
        assert spool.due(time.monotonic() + pause) == [path]
    for _ in range(10):
        spool.ended(path, "failed", "the card is busy")
    assert spool.due(time.monotonic() + 300) == [path]
    assert spool.outcomes == {"failed": 13}


def test_a_malformed_file_is_set_aside(state: Path, spool: Spool) -> None:
    path = keep(state, "a", 1)
    spool.ended(str(path), "malformed", "its kind is 7")
    assert not path.exists()
    assert path.with_name(f".damaged-{path.name}").exists()
    assert spool.waiting() == []


def test_an_unchanged_folder_is_not_listed_again(
    state: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = keep(state, "a", 1)
    time.sleep(0.06)
    assert spool.of("a")
    listed: list[object] = []
    listdir = os.listdir

    def listing(folder: str) -> list[str]:
        listed.append(folder)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", listing)
    assert spool.of("a")
    assert spool.of("b") == ()
    assert listed == []
    path.unlink()
    assert spool.of("a") == ()
    assert listed


def test_a_file_created_in_the_same_tick_of_the_clock_is_found(state: Path, spool: Spool) -> None:
    for number in range(20):
        keep(state, f"c{number}", number)
        assert spool.of(f"c{number}")


def test_the_folders_of_other_configurations_are_learned_and_remembered(
    tmp_path: Path, state: Path, spool: Spool, log: Log
) -> None:
    other = tmp_path / "other"
    path = str(keep(other, "a", 1))
    assert spool.waiting() == []
    spool.learn(str(other))
    spool.learn(str(other))
    assert spool.waiting() == [path]
    assert Spool(str(state), log).waiting() == [path], "after a restart"
    assert spool.cni_dirs == (str(state), str(other))


@pytest.mark.parametrize("odd", ["/x\0y", "/x\ud800", "/x\n/etc", "/x\udcff"])
def test_an_invalid_folder_in_the_list_is_ignored(state: Path, spool: Spool, odd: str) -> None:
    before = spool.cni_dirs
    spool.learn(odd)
    assert (spool.cni_dirs, spool.waiting(), spools.remembered(str(state))) == (before, [], [])


def test_the_number_of_learned_folders_is_bounded(spool: Spool) -> None:
    for number in range(100):
        spool.learn(f"/nowhere/{number}")
    assert len(spool.cni_dirs) < 20


# --- The replay -----------------------------------------------------------------------------------


def test_a_file_is_removed_after_its_del_succeeded_and_not_before(
    state: Path, handler: Handler
) -> None:
    path = keep(state, "a", 1)
    handler.failing.add("a")
    assert carry_out(str(path), handler) == ("failed", '{"code": 11}')
    assert path.exists()
    handler.failing.clear()
    assert carry_out(str(path), handler) == ("done", "")
    assert not path.exists()
    assert carry_out(str(path), handler) == ("gone", "")
    assert handler.done == ["a"]


def test_a_del_that_another_process_carries_out_is_left_alone(
    state: Path, handler: Handler
) -> None:
    path = keep(state, "a", 1)

    def meanwhile(environ: Mapping[str, str], stdin: bytes, deadline: float) -> tuple[int, bytes]:
        assert carry_out(str(path), handler)[0] == "failed"
        return 0, b""

    assert carry_out(str(path), meanwhile) == ("done", "")
    assert handler.done == []


@pytest.mark.parametrize(
    "kind", ["torn", "garbage", "empty", "writable", "link", "folder", "pipe", "socket", "add"]
)
def test_a_file_that_a_shim_did_not_write_is_malformed(
    state: Path, handler: Handler, kind: str
) -> None:
    path = keep(state, "bad", 1, command="ADD" if kind == "add" else "DEL")
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
        path.rename(state / "elsewhere")
        path.symlink_to(state / "elsewhere")
    elif kind != "add":
        path.unlink()
        modes = {"pipe": stat.S_IFIFO, "socket": stat.S_IFSOCK}
        os.mknod(path, modes[kind] | 0o600) if kind in modes else path.mkdir()
    outcome, reason = carry_out(str(path), handler)
    assert (outcome, bool(reason)) == ("malformed", True)
    assert handler.done == []


def test_a_folder_that_others_can_write_to_is_not_trusted(state: Path, handler: Handler) -> None:
    path = keep(state, "a", 1)
    (state / ".spool").chmod(0o777)
    assert carry_out(str(path), handler)[0] == "malformed"
    assert handler.done == []


def test_the_names_of_the_files_are_as_documented() -> None:
    assert (spools.FOLDER, spools.FOLDERS, spools.DAMAGED) == (".spool", ".folders", ".damaged-")


@pytest.mark.parametrize("cni_dir", ["/a\0b", "/a\udcff", "/a\nb", "relative", "/" + "a" * 300])
def test_a_folder_that_shims_do_not_use_is_not_learned(state: Path, log: Log, cni_dir: str) -> None:
    spool = Spool(str(state), log)
    spool.learn(cni_dir)
    assert spool.cni_dirs == (str(state),)
