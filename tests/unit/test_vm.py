"""``./dev vm``: a machine that does not come up fails, and its serial line loses nothing."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT
from waiting import eventually

TOOLS = ROOT / "tools" / "vm"
AT_ONCE = 2048  # bytes that may be under way

#: What a kernel may do instead of starting.
FAULTS = {
    "it fails": "echo 'Kernel panic - not syncing'; exit 1",
    "it ends well": "echo 'Kernel panic - not syncing'",
    "it says something else": "echo 'Kernel panic - not syncing'; echo 41 >&6",
}


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_kernel_that_does_not_start_is_said_with_its_console(tmp_path: Path, fault: str) -> None:
    kernel = tmp_path / "linux.uml"
    kernel.write_text(f"#!/bin/sh\n{FAULTS[fault]}\n")
    kernel.chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(TOOLS / "run.py"), "--version"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 69
    assert "user-mode Linux does not start on this machine" in done.stderr
    assert "Kernel panic - not syncing" in done.stderr


def test_the_line_gets_no_more_than_its_buffer_takes(tmp_path: Path) -> None:
    name = str(tmp_path / "machine")
    line, acknowledged = f"{name}.in", f"{name}.acknowledged"
    for path in (line, acknowledged):
        os.mkfifo(path)
    sent = os.urandom(10 * AT_ONCE + 1)
    reading = os.open(line, os.O_RDWR | os.O_NONBLOCK)
    answering = os.open(acknowledged, os.O_RDWR)
    feed = subprocess.Popen([sys.executable, str(TOOLS / "feed.py"), name], stdin=subprocess.PIPE)
    assert feed.stdin is not None
    try:
        feed.stdin.write(sent)
        feed.stdin.close()
        assert not _waiting(reading)  # before the machine is up
        Path(f"{name}.up").touch()
        got = b""
        while len(got) < len(sent):
            eventually(lambda: _waiting(reading))
            part = os.read(reading, 1 << 16)
            assert len(part) <= AT_ONCE
            got += part
            os.write(answering, b"." * len(part))
        assert got == sent
        assert feed.wait(30) == 0
    finally:
        feed.kill()
        feed.wait()
        os.close(reading)
        os.close(answering)


def _waiting(pipe: int) -> bool:
    """Whether there is something to read."""
    return bool(select.select([pipe], [], [], 0)[0])


def test_the_machine_acknowledges_each_byte_that_it_passes_on() -> None:
    reading, acknowledging = os.pipe()
    script = f"exec 4>&{acknowledging}; exec {sys.executable} {TOOLS / 'relay.py'}"
    sent = os.urandom(10_000)
    done = subprocess.run(
        ["bash", "-c", script],
        input=sent,
        capture_output=True,
        pass_fds=[acknowledging],
        check=True,
    )
    os.close(acknowledging)
    with open(reading, "rb") as answers:
        assert (done.stdout, len(answers.read())) == (sent, len(sent))
