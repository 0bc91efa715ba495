"""How the program ends: at once, but not before what its plugins left to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import eventually

LEAVING = """
import atexit, os, sys
atexit.register(lambda: os.write(1, b"farewell\\n"))
"""
THREAD = """
import threading, time
threading.Thread(target=lambda: (time.sleep(0.3), os.write(1, b"done\\n"))).start()
"""
UNFINISHED = """
import sys
if sys.stderr: sys.stderr.write("no end of line")
"""
START = """
from multus.__main__ import program
program()
"""


def ends(
    *before: str, stdin: bytes = b"", redirection: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """The program's end, with code that ran in its process before it."""
    program = "".join((*before, START))
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -I -c "$1" {redirection}', sys.executable, program],
        input=stdin,
        env={"CNI_COMMAND": "VERSION", "PATH": os.defpath, "MULTUS_STANDALONE": "1"},
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_functions_that_wait_for_the_end_are_called_and_add_nothing_to_the_answer() -> None:
    ended = ends(LEAVING)
    (answer,) = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr) == (0, b"farewell\n")
    assert b"supportedVersions" in answer


def test_a_thread_that_still_runs_is_waited_for() -> None:
    ended = ends(LEAVING, THREAD)
    assert ended.stderr.splitlines()[-2:] == [b"done", b"farewell"]
    assert len(ended.stdout.splitlines()) == 1


def test_what_was_written_is_seen() -> None:
    assert ends(UNFINISHED).stderr == b"no end of line"


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_nobody_has_to_listen(redirection: str) -> None:
    ended = ends(LEAVING, UNFINISHED, redirection=redirection)
    assert ended.returncode == 0
    assert b"supportedVersions" in ended.stdout


def test_an_error_has_its_status() -> None:
    ended = ends(stdin=b"{")
    assert ended.returncode == 1
    assert b'"code"' in ended.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of processes needs root")
def test_a_containers_first_process_ends_when_told_so_at_any_moment() -> None:
    """The kernel keeps a signal without a handler from it: until a command has its own."""
    argv = [
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        sys.executable,
        "-m",
        "multus",
        "validate",
    ]
    with subprocess.Popen(
        [*argv, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as unshare:
        children = f"/proc/{unshare.pid}/task/{unshare.pid}/children"
        try:
            (first,) = eventually(lambda: Path(children).read_text().split())
            eventually(lambda: _handles_sigterm(first))
            os.kill(int(first), signal.SIGTERM)
            assert unshare.wait(60) == 128 + signal.SIGTERM
        finally:
            unshare.kill()


def _handles_sigterm(process: str) -> bool:
    with open(f"/proc/{process}/status") as status:
        (caught,) = (line.split()[1] for line in status if line.startswith("SigCgt:"))
    return bool(int(caught, 16) & 1 << (signal.SIGTERM - 1))
