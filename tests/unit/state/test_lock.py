"""Locks: a container's, and the garbage collector's; they go with their processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import PATIENCE

from multus.api.errors import IOFailure, TryAgainLater
from multus.state.lock import collector_lock, container_lock


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path)


HOLD = """
import os, subprocess, sys, time
from multus.state.lock import container_lock
with container_lock(sys.argv[1], sys.argv[2], 0.0, adding=True) as descriptor:
    if sys.argv[3:]:
        os.set_inheritable(descriptor, True)
        subprocess.Popen(sys.argv[3:], close_fds=False, stdout=subprocess.DEVNULL)
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def held_elsewhere(
    folder: str, container_id: str, *child: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Another process holds it, and may have a child with the same stdin; yields the process."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder, container_id, *child],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


def test_two_commands_of_one_container_exclude_each_other(folder: str) -> None:
    with held_elsewhere(folder, "c1") as holder:
        with pytest.raises(TryAgainLater, match=rf"process {holder.pid}\b"):
            with container_lock(folder, "c1", 0.05):
                pass


def test_two_threads_exclude_each_other_too(folder: str) -> None:
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with container_lock(folder, "c1", 600.0, adding=True):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == 1


def test_different_containers_do_not_wait_for_each_other(folder: str) -> None:
    names = [f"c{number}" for number in range(200)]
    opened = [container_lock(folder, name, 0.0, adding=True) for name in names]
    for each in opened:
        each.__enter__()
    for each in opened:
        each.__exit__(None, None, None)


def test_waiting_is_bounded(folder: str) -> None:
    with container_lock(folder, "c1", 0.0):
        started = time.monotonic()
        with pytest.raises(TryAgainLater):
            with container_lock(folder, "c1", 0.3):
                pass
        assert 0.3 <= time.monotonic() - started < PATIENCE


def test_whoever_waits_gets_it_when_it_is_free(folder: str) -> None:
    with held_elsewhere(folder, "c1") as holder:
        threading.Timer(0.2, holder.kill).start()
        with container_lock(folder, "c1", PATIENCE):
            pass


def test_a_holder_that_was_killed_holds_nothing_any_more(folder: str) -> None:
    with held_elsewhere(folder, "c1") as holder:
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        with container_lock(folder, "c1", 0.0):
            pass


def test_a_child_that_outlived_its_killed_parent_holds_the_lock_as_long_as_it_lives(
    folder: str,
) -> None:
    with held_elsewhere(folder, "c1", "cat") as holder:
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(TryAgainLater, match="'cat'"):
            with container_lock(folder, "c1", 0.0):
                pass
        with container_lock(folder, "c2", 0.0):
            pass
        assert holder.stdin is not None
        holder.stdin.close()  # which ends the child
        with container_lock(folder, "c1", PATIENCE):
            pass


def test_garbage_is_not_collected_while_anything_is_attached(folder: str) -> None:
    with held_elsewhere(folder, "c1"):
        with pytest.raises(TryAgainLater):
            with collector_lock(folder, 0.05):
                pass
    with collector_lock(folder, 0.0):
        with pytest.raises(TryAgainLater, match="garbage"):
            with container_lock(folder, "c2", 0.05, adding=True):
                pass


def test_garbage_collection_does_not_hold_off_commands_that_attach_nothing(folder: str) -> None:
    with collector_lock(folder, 0.0), container_lock(folder, "c1", 0.0):
        pass


def test_no_file_comes_or_goes_with_a_lock(folder: str) -> None:
    for number in range(5):
        with container_lock(folder, f"c{number}", 0.0, adding=True):
            pass
    assert os.listdir(folder) == [".lock"]
    assert os.stat(f"{folder}/.lock").st_mode & 0o7777 == 0o600


def test_a_link_in_the_place_of_the_file_is_refused(folder: str, tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IOFailure, match=r"\.lock"):
        with container_lock(folder, "c1", 0.0):
            pass
    assert not (tmp_path / "elsewhere").exists()
