from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from repository import ROOT, plugins

pytestmark = pytest.mark.timeout(600)

#: Everything that the image has of its own beside our distributions; a new one is a decision.
LIBRARIES = {
    "_cffi_backend",
    "_yaml",
    "attr",
    "attrs",
    "cffi",
    "cryptography",
    "h11",
    "h2",
    "hpack",
    "hyperframe",
    "markdown_it",
    "mdurl",
    "netaddr",
    "pluggy",
    "prometheus_client",
    "pycparser",
    "pygments",
    "pyroute2",
    "rich",
    "shtab",
    "urllib3",
    "yaml",
}


def packages(image: Path) -> set[str]:
    (folder,) = image.glob("lib/python3*/site-packages")
    return {
        path.name.partition(".")[0]
        for path in folder.iterdir()
        if not path.name.endswith(".dist-info") and path.name != "__pycache__"
    }


def test_it_has_every_plugin_and_no_library_that_is_not_needed(image: Path) -> None:
    ours = {path.parent.name.replace("-", "_") for path in ROOT.glob("plugins/*/setup.cfg")}
    assert packages(image) == {"multus", *ours, *LIBRARIES}


def test_it_has_no_tests_no_installer_and_no_kit(image: Path) -> None:
    names = {str(path.relative_to(image)) for path in image.rglob("*")}
    ours = [name for name in names if "/multus" in name]
    assert [name for name in ours if "/tests/" in name or "/testing" in name] == []
    assert not (image / "bin" / "pip").exists()


def test_it_is_small(image: Path) -> None:
    size = sum(path.lstat().st_size for path in image.rglob("*") if path.is_file())
    assert size < 64 << 20


def test_the_shim_runs_without_a_c_library(image: Path) -> None:
    shim = image / "bin" / "multus-shim"
    assert b"ld-linux" not in shim.read_bytes()[:4096]
    done = subprocess.run(
        [str(shim)],
        input=b'{"cniVersion": "1.1.0"}',
        env={"CNI_COMMAND": "VERSION", "MULTUS_SOCKET": "/none"},
        capture_output=True,
        check=True,
    )
    assert b'"1.1.0"' in done.stdout


def test_all_plugins_load_and_the_index_is_fresh(image: Path) -> None:
    done = subprocess.run(
        [str(image / "bin" / "multus"), "plugins", "--json"],
        env={"PYTHONPROFILEIMPORTTIME": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout)
    assert report["broken"] == []
    names = {each["distribution"] for each in report["plugins"]}
    assert names == plugins()
    # Without the index every distribution would be asked.
    assert "importlib.metadata" not in done.stderr


def test_every_module_is_compiled(image: Path) -> None:
    (folder,) = image.glob("lib/python3*/site-packages/multus")
    missing = [
        path
        for path in folder.rglob("*.py")
        if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))
    ]
    assert missing == []


@pytest.mark.parametrize("command", ["daemon", "install", "uninstall", "doctor", "explain"])
def test_the_commands_of_the_daemonset_and_its_notes_are_there(image: Path, command: str) -> None:
    argv = [str(image / "bin" / "multus"), command, "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
