"""What a process that is started per call loads: everything else costs every pod its time."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from multus.testing.delegates import BinDir
from multus.testing.runtime import Container

#: Building and installing a dozen wheels takes its time.
pytestmark = pytest.mark.timeout(600)

#: Runs the program as its script does, and writes down what was loaded by its end.
DUMP = """
import atexit, sys
atexit.register(lambda: open(sys.argv[1], "w").write(" ".join(sys.modules)))
from multus.__main__ import main
sys.exit(main())
"""

#: What attrs, pluggy and json bring along, whatever this Python and these releases make of it.
LIBRARIES = "import sys, attrs, pluggy, json; print(*sys.modules)"

#: What an exec'd call needs beside them: locks, processes, checksums, the daemon's socket, and the
#: garbage collector, to turn it off.
NEEDED = {"gc", "_signal", "_socket", "_struct", "binascii", "errno", "fcntl", "math", "select"}
NEEDED |= {"signal", "struct", "atexit"}  # the last is for writing this down

#: Far too much for a process that is started per call.
HEAVY = {"argparse", "asyncio", "dataclasses", "email", "http", "importlib.metadata", "ipaddress"}
HEAVY |= {"logging", "netaddr", "pathlib", "pyroute2", "rich", "socket", "ssl", "subprocess"}
HEAVY |= {"tempfile", "urllib", "urllib3", "yaml", "zipfile"}


@pytest.fixture
def loaded(environment: Path, tmp_path: Path) -> dict[str, set[str]]:
    """The modules that each command's process had loaded by its end."""
    bin_dir = BinDir(str(tmp_path / "bin")).stand_in("fake")
    conf = {
        "cniVersion": "1.1.0",
        "name": "lean",
        "type": "multus",
        "cniDir": str(tmp_path / "multus"),
        "binDir": bin_dir.path,
        "delegates": [{"type": "fake"}],
    }

    def call(command: str) -> set[str]:
        out = tmp_path / command
        container = Container("/run/netns/none", id="c1").environ()
        subprocess.run(
            [environment / "bin/python", "-I", "-c", DUMP, out],
            input=json.dumps(conf).encode(),
            env={**container, "PATH": os.environ["PATH"], "CNI_COMMAND": command, "CNI_PATH": "/x"},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return set(out.read_text().split())

    for command in ("ADD", "DEL"):
        call(command)  # the first call after an installation writes the index of plugins
    return {command: call(command) for command in ("VERSION", "ADD", "DEL")}


def brought(environment: Path) -> set[str]:
    python = [str(environment / "bin/python"), "-I", "-c", LIBRARIES]
    return set(subprocess.check_output(python, text=True, env={}).split())


@pytest.mark.parametrize("command", ["VERSION", "ADD", "DEL"])
def test_nothing_heavy_is_loaded(loaded: dict[str, set[str]], command: str) -> None:
    assert loaded[command] & HEAVY == set()


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_an_execd_call_loads_ours_and_what_our_libraries_load(
    loaded: dict[str, set[str]], environment: Path, command: str
) -> None:
    ours = {name for name in loaded[command] if name.split("_")[0].split(".")[0] == "multus"}
    assert loaded[command] - ours - brought(environment) - NEEDED == set()
    unused = {"multus.cli", "multus.daemon", "multus.ipam", "multus.netlink", "multus.testing"}
    assert ours & unused == set()


def test_version_is_answered_before_any_plugin_is_looked_for(
    loaded: dict[str, set[str]],
) -> None:
    assert not {"pluggy", "multus.registry.index", "multus.engine.pipeline"} & loaded["VERSION"]
    assert not [name for name in loaded["VERSION"] if name.startswith("multus_")]


def test_an_attachment_in_process_loads_nothing_heavy(environment: Path) -> None:
    code = "import sys, multus_invoker_ptp.invoker, multus.ipam._hostlocal; print(*sys.modules)"
    python = [str(environment / "bin/python"), "-I", "-c", code]
    assert set(subprocess.check_output(python, text=True, env={}).split()) & HEAVY == set()
