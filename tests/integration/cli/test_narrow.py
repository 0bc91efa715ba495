"""Output on a terminal of 80 columns: nothing is cut, and no cell of a table is broken."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest

from multus.cli import names


def on_terminal(
    program: Sequence[str], words: str, columns: int, *, blanks: bool = False
) -> list[str]:
    """The lines that the program prints on a terminal of this width, without styles.

    *blanks* keeps those at their ends.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8"}
    command = [*program, *words.split()]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ):
        os.close(theirs)
        text = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    # A line that says what the command does is replaced by what it prints.
    printed = re.sub(r"(\r\x1b\[K[^\r\n]*)*\r\x1b\[K", "", text.decode())
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed)
    return [line if blanks else line.rstrip() for line in plain.splitlines()]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: the program has ended
        return b""


@pytest.mark.parametrize("command", ["", *names()])
def test_help_fits_into_80_columns(cni_program: Sequence[str], command: str) -> None:
    lines = on_terminal(cni_program, f"{command} --help", 80)
    assert lines[0].startswith("usage: multus")
    assert [line for line in lines if len(line) > 80] == []


def test_a_table_that_is_too_wide_becomes_lines(cni_program: Sequence[str]) -> None:
    wide = on_terminal(cni_program, "plugins", 400)
    assert wide[0].split() == ["PLUGIN", "DISTRIBUTION", "HOOKS", "FROM"]
    narrow = on_terminal(cni_program, "plugins", 80)
    assert narrow[0].split() == ["PLUGIN", wide[1].split()[0]]
    assert narrow[3].split() == ["FROM", wide[1].split()[-1]]


@pytest.mark.parametrize("command", ["plugins", "doctor", "status", "explain -f pod.yaml", "help"])
def test_no_line_ends_in_blanks_and_the_first_is_not_empty(
    cni_program: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pod.yaml").write_text("kind: Pod\napiVersion: v1\nmetadata: {name: web}\n")
    for columns in (80, 400):
        lines = on_terminal(cni_program, command, columns, blanks=True)
        assert lines[0].strip()
        assert [each for each in lines if each != each.rstrip()] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_the_table_of_the_demo_fits_into_80_columns(cni_program: Sequence[str]) -> None:
    lines = on_terminal(cni_program, "demo", 80)
    table = lines[next(n for n, line in enumerate(lines) if line.startswith("Link")) :]
    assert [line.split()[0] for line in table[1:4]] == ["eth0", "net0", "net1"]
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_findings_are_wrapped_between_words(
    cni_program: Sequence[str], tmp_path: Path, columns: int
) -> None:
    long = tmp_path / f"{'x' * 130}.yaml"
    long.write_text("kind: Pod\nmetadata: {name: web}\nspec: {}\n")
    broken = tmp_path / "00-multus.conf"
    broken.write_text('{"type": "multus", "name": "n", "cniVersion": "1.0.0", "deleg": 1}')
    for command in (f"validate {tmp_path}", f"explain {long}", f"doctor -c {broken}"):
        lines = on_terminal(cni_program, command, columns)
        # Only what has no space is longer, such as a path.
        assert [each for each in lines if len(each) > columns and " " in each.strip("?✗! ")] == []
    text = " ".join(on_terminal(cni_program, f"validate {broken}", columns))
    assert "reads this key" in " ".join(text.split())


def test_a_sentence_is_wrapped_too(cni_program: Sequence[str], tmp_path: Path) -> None:
    (tmp_path / "c1:eth0").write_text("torn")
    lines = on_terminal(cni_program, f"attachments --cni-dir {tmp_path}", 60)
    assert [line for line in lines if len(line) > 60 and " " in line.strip()] == []


def test_an_error_is_wrapped_too(cni_program: Sequence[str], tmp_path: Path) -> None:
    lines = on_terminal(cni_program, f"install --dry-run --net-d {tmp_path}", 60)
    # Only a path is longer.
    assert (
        len(lines) > 1 and [line for line in lines if len(line) > 60 and " " in line.strip()] == []
    )
    assert all(line.startswith("  ") for line in lines[1:])
