"""The systemd units match the program that they start."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from multus.cli import parser
from multus.cni import shim
from multus.daemon.settings import Limits

UNITS = Path(__file__).parents[3] / "deploy" / "systemd"


def unit(name: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None)
    # As configparser's documentation has it; typeshed sees a method assigned to.
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read(UNITS / name)
    return found


def test_the_service_starts_the_daemon() -> None:
    program, *arguments = unit("multus.service")["Service"]["ExecStart"].split()
    assert program.endswith("/multus")
    assert parser().parse_args(arguments).command == "daemon"


def test_the_socket_is_the_one_that_shims_look_for() -> None:
    section = unit("multus.socket")["Socket"]
    assert section["ListenStream"].encode() == shim.SOCKET
    assert (section["SocketMode"], section["DirectoryMode"]) == ("0600", "0700")


def test_running_calls_have_time_to_end() -> None:
    assert int(unit("multus.service")["Service"]["TimeoutStopSec"]) > Limits().stop_seconds


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd")
def test_systemd_understands_the_units() -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, sorted(UNITS.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    # Whether the program and its manual are installed does not matter here.
    told = [line for line in done.stderr.splitlines() if "Unknown" in line or "Failed to" in line]
    assert told == []
