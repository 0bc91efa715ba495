"""Atomic file writes: kills, full disks, concurrent writers, special files at the path."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from descriptors import all_closed

from multus.api import atomic
from multus.api.regular import NotRegular

#: Large enough that a kill can hit the middle of writing one.
OLD, NEW = b"old\n" * 200_000, b"newer\n" * 150_000

_WRITER = """
import sys
from multus.api import atomic
path, contents = sys.argv[1], [b"newer\\n" * 150_000, b"old\\n" * 200_000]
fsync, temporary = sys.argv[2] == "fsync", sys.argv[3] or None
print("ready", flush=True)
while True:
    for each in contents:
        atomic.write(path, each, fsync=fsync, temporary=temporary)
"""


@pytest.mark.parametrize("fsync", ["", "fsync"])
@pytest.mark.parametrize("named", [True, False])
def test_a_writer_that_is_killed_leaves_the_old_or_the_new(
    tmp_path: Path, fsync: str, named: bool
) -> None:
    path = tmp_path / "file"
    temporary = str(tmp_path / "file.new") if named else ""
    path.write_bytes(OLD)
    moments = random.Random(7)
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), fsync, temporary], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
            time.sleep(moments.uniform(0.0, 0.02))
            writer.send_signal(signal.SIGKILL)
        assert path.read_bytes() in (OLD, NEW)
    if named:
        # The temporary file of a killed writer is replaced, so at most one is left.
        assert len(os.listdir(tmp_path)) <= 2
        atomic.write(str(path), b"last", fsync=False, temporary=temporary)
        assert os.listdir(tmp_path) == ["file"]
    atomic.write(str(path), b"last", fsync=bool(fsync))
    assert path.read_bytes() == b"last"


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs"]
    subprocess.run(["mount", *options, str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("fsync", [True, False])
def test_on_a_full_disk_the_old_contents_stay(full_disk: Path, fsync: bool) -> None:
    path = full_disk / "file"
    atomic.write(str(path), b"old" * 10_000, fsync=fsync)
    with pytest.raises(OSError) as caught:
        atomic.write(str(path), b"new" * 20_000, fsync=fsync)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old" * 10_000
    assert os.listdir(full_disk) == ["file"]  # and the space is free again
    atomic.write(str(path), b"new" * 10_000, fsync=fsync)
    assert path.read_bytes() == b"new" * 10_000


def test_a_write_that_fails_at_any_size_leaves_the_old_contents(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with all_closed():
        for most in range(0, 60, 7):
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
            try:
                with pytest.raises(OSError):
                    atomic.write(str(path), b"x" * 60, fsync=True)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["file"])


def test_a_reader_sees_no_third_state_while_several_write(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    done = threading.Event()

    def write(data: bytes) -> None:
        while not done.is_set():
            atomic.write(str(path), data, fsync=False)

    writers = [threading.Thread(target=write, args=(data,)) for data in (OLD, NEW, OLD, NEW)]
    for each in writers:
        each.start()
    try:
        assert {path.read_bytes() in (OLD, NEW) for _ in range(200)} == {True}
    finally:
        done.set()
        for each in writers:
            each.join()
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("umask", [0, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755])
def test_the_permissions_are_those_asked_for(tmp_path: Path, umask: int, mode: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    before = os.umask(umask)
    try:
        atomic.write(str(path), b"new", mode, fsync=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("kind", ["fifo", "folder", "link"])
def test_something_else_under_the_temporary_name_is_refused_and_stays(
    tmp_path: Path, kind: str
) -> None:
    path, temporary = tmp_path / "file", tmp_path / "file.new"
    path.write_bytes(b"old")
    make: dict[str, Callable[[], None]] = {
        "fifo": lambda: os.mkfifo(temporary),
        "folder": temporary.mkdir,
        "link": lambda: temporary.symlink_to(tmp_path / "victim"),
    }
    make[kind]()
    before = os.lstat(temporary)
    with pytest.raises(NotRegular):
        atomic.write(str(path), b"new", fsync=False, temporary=str(temporary))
    assert os.lstat(temporary).st_ino == before.st_ino
    assert path.read_bytes() == b"old" and not (tmp_path / "victim").exists()


def test_a_link_in_the_place_of_the_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    path, victim = tmp_path / "file", tmp_path / "victim"
    victim.write_bytes(b"precious")
    path.symlink_to(victim)
    atomic.write(str(path), b"new", fsync=False)
    assert (path.read_bytes(), victim.read_bytes()) == (b"new", b"precious")
    assert not path.is_symlink()


def test_the_descriptor_goes_on_appending_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    descriptor = atomic.write_open(str(path), b"one\n", fsync=False)
    try:
        atomic.write_all(descriptor, b"two\n")
    finally:
        os.close(descriptor)
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize(
    ("fsync", "replacing", "expected"),
    [
        (True, True, ["fdatasync", "rename", "fsync of the folder"]),
        (True, False, ["rename", "fdatasync", "fsync of the folder"]),
        (False, True, ["rename"]),
    ],
)
def test_what_a_power_cut_may_cost_decides_what_is_fsynced_when(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fsync: bool,
    replacing: bool,
    expected: list[str],
) -> None:
    calls: list[str] = []

    def noting(name: str) -> Callable[..., object]:
        real = getattr(os, name)

        def call(*arguments: object) -> object:
            synced = isinstance(arguments[0], int) and stat.S_ISDIR(os.fstat(arguments[0]).st_mode)
            calls.append(f"{name} of the folder" if synced else name)
            return real(*arguments)

        return call

    for name in ("fdatasync", "rename", "fsync"):
        monkeypatch.setattr(os, name, noting(name))
    path = str(tmp_path / "file")
    os.close(atomic.write_open(path, b"x", fsync=fsync, replacing=replacing))
    assert calls == expected


@pytest.mark.parametrize("failing", ["fdatasync", "fsync"])
def test_a_new_file_that_cannot_be_fsynced_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="gone"):
        atomic.write_open(str(tmp_path / "file"), b"x", fsync=True, replacing=False)
    assert list(tmp_path.iterdir()) == []
