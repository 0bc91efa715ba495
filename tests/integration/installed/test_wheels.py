"""What the wheels hold."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from repository import ROOT, plugins

#: What a package is made of: modules, and what they read beside them.
_SUFFIXES = (".py", ".typed", ".proto", ".tmpl")

#: Building and installing a dozen wheels takes its time.
pytestmark = pytest.mark.timeout(600)


def packaged(environment: Path, package: str) -> set[str]:
    (folder,) = environment.glob(f"lib/python3*/site-packages/{package}")
    return {str(path.relative_to(folder)) for path in _sources(folder)}


def _sources(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in _SUFFIXES]


def test_the_cores_wheel_holds_every_file(environment: Path) -> None:
    wanted = {str(path.relative_to(ROOT / "multus")) for path in _sources(ROOT / "multus")}
    assert packaged(environment, "multus") == wanted
    assert "py.typed" in wanted


def test_every_plugins_wheel_holds_every_file(environment: Path) -> None:
    for folder in sorted(ROOT.glob("plugins/*/src/*/")):
        if folder.name.endswith(".egg-info"):
            continue
        wanted = {str(path.relative_to(folder)) for path in _sources(folder)}
        assert packaged(environment, folder.name) == wanted, folder


def test_conformance_warns_of_nothing(environment: Path) -> None:
    done = subprocess.run(
        [environment / "bin/multus", "conformance", "merger-primary", "--", "-k", "loads"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_every_plugin_is_found_and_sound(environment: Path) -> None:
    done = subprocess.run(
        [environment / "bin/multus", "plugins", "--json"], capture_output=True, check=False
    )
    report = json.loads(done.stdout)
    assert (done.returncode, report["broken"]) == (0, [])
    distributions = {each["distribution"] for each in report["plugins"]}
    assert distributions == plugins()
