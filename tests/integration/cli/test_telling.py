"""No command is mute for more than a second on a terminal, whatever it is busy with."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from multus.cli import names

#: Each command is busy for a while before it does anything else.
SLOW = """
import importlib, sys, time
import multus.__main__ as program
name = sys.argv[1].replace("-", "_")
module = importlib.import_module(f"multus.cli.commands.{name}")
def busy(arguments):
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        time.sleep(0.1)
    return 0
module.run = busy
program.program()
"""
#: What each command needs on its command line.
WORDS = {
    "apply": ["web"],
    "completion": ["bash"],
    "conformance": ["merger-all"],
    "convert": ["-f", "-"],
    "ipam": ["status"],
    "new-plugin": ["source", "x"],
}


def read(terminal: int) -> str:
    text = b""
    try:
        while part := os.read(terminal, 4096):
            text += part
    except OSError:  # EIO: every writer has ended
        pass
    return text.decode()


def test_every_command_tells_what_it_does_after_a_second() -> None:
    started = {}
    for name in names():
        ours, theirs = pty.openpty()
        argv = [sys.executable, "-c", SLOW, name, *WORDS.get(name, [])]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        started[name] = (process, ours)
    for name, (process, ours) in started.items():
        told = read(ours)
        os.close(ours)
        assert process.stdout is not None
        assert process.stdout.read() == b"", name
        process.stdout.close()
        assert process.wait() == 0, told
        assert re.search(rf"multus {name}: \S.* \(\d+ s\)", told), (name, told)
        # The line is taken away again.
        assert told.endswith("\r\x1b[K"), (name, told)


PLAIN = """
import sys, time
from multus.cli import screen, telling
screen.claim()
telling.begin("multus gc", elsewhere=0.1)
telling.doing("looking at \\x1b[31mrecords")
time.sleep(0.35)
screen.as_json({"removed": []})
telling.doing("removing")
time.sleep(0.25)
telling.end()
time.sleep(0.3)
screen.flush()
"""


def test_elsewhere_it_is_plain_lines_on_standard_error_alone() -> None:
    done = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True)
    assert done.stdout == '{\n  "removed": []\n}\n'
    lines = done.stderr.splitlines()
    assert all(re.fullmatch(r"multus gc: .* \(\d+ s\)", line) for line in lines), lines
    assert any("looking at" in line for line in lines) and any("removing" in line for line in lines)
    assert "\x1b" not in done.stderr and "\r" not in done.stderr
    assert len(lines) <= 6


def test_a_wait_says_what_it_waits_for(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "multus", "status", "--json", "--wait", "3"]
    argv += ["--net-d", str(tmp_path), "--bin-dir", str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        told = read(ours)
        assert process.stdout is not None
        assert process.stdout.read().startswith(b"{")
    os.close(ours)
    assert f"multus status: waiting: {str(tmp_path)[:40]}" in told
