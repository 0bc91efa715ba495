"""What `multus new-plugin` writes installs, and its tests pass at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from configparser import ConfigParser
from pathlib import Path

import pytest

from multus.cli import main
from multus.cli.commands.new_plugin.writing import KINDS

ROOT = Path(__file__).parents[3]


@pytest.fixture
def outside(tmp_path: Path) -> dict[str, str]:
    """An environment whose interpreter also finds what is installed into ``installed``."""
    return {**os.environ, "PYTHONPATH": str(tmp_path / "installed"), "PYTEST_ADDOPTS": ""}


def _run(argv: Sequence[str], folder: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _install(folder: Path, target: Path, environ: dict[str, str]) -> None:
    options = ["-q", "--no-deps", "--no-build-isolation", "--target", str(target)]
    _run([sys.executable, "-m", "pip", "install", *options, str(folder)], folder, environ)


@pytest.mark.parametrize("kind", KINDS)
def test_it_installs_and_its_tests_pass(
    kind: str, tmp_path: Path, outside: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new-plugin", kind, "my-thing", "--into", str(tmp_path)]) == 0
    folder = tmp_path / f"multus-{kind}-my-thing"
    assert f"cd {folder}" in capsys.readouterr().out
    _install(folder, tmp_path / "installed", outside)
    passed = _run([sys.executable, "-m", "pytest", "-q"], folder, outside)
    assert "passed" in passed and "skipped" not in passed.splitlines()[-1]
    shown = _run([sys.executable, "-m", "multus", "plugins"], tmp_path, outside)
    assert f"{kind}-my-thing" in shown


def test_it_brings_what_a_repository_needs(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    assert main(["new-plugin", "source", "my-thing", "--into", str(tmp_path)]) == 0
    folder = tmp_path / "multus-source-my-thing"
    workflow = yaml.safe_load((folder / ".github/workflows/check.yaml").read_text())
    job = workflow["jobs"]["tox"]
    assert job["steps"][-1]["run"] == 'sudo "$(command -v python)" -m tox -e py,type'
    assert job["steps"][1]["with"]["python-version"] == "${{ matrix.python }}"
    tox, metadata = ConfigParser(), ConfigParser()
    tox.read(folder / "tox.ini")
    metadata.read(folder / "setup.cfg")
    assert tox["testenv"]["extras"] in metadata["options.extras_require"]
    assert "multus[testing]" in metadata["options.extras_require"]["test"].split()
    assert metadata["metadata"]["license_expression"] == "Apache-2.0"
    holders = "Copyright the authors of multus-source-my-thing"
    assert (folder / metadata["metadata"]["license_files"]).read_text().startswith(holders)
    assert ".tox/" in (folder / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("kind", ["source", "observer"])
def test_its_key_is_known_to_validate_and_owned_by_its_distribution(
    kind: str, tmp_path: Path, outside: dict[str, str]
) -> None:
    assert main(["new-plugin", kind, "my-thing", "--into", str(tmp_path)]) == 0
    _install(tmp_path / f"multus-{kind}-my-thing", tmp_path / "installed", outside)
    conf = tmp_path / "node.conf"
    keys = {"delegates": [{"type": "ptp"}], "myThingFile": "/etc/my-thing"}
    conf.write_text(json.dumps({"name": "node", "type": "multus", **keys}))
    validate = [sys.executable, "-m", "multus", "validate", "--off-node", "--json", "-f", str(conf)]
    assert "myThingFile" not in _run(validate, tmp_path, outside)
    metadata = next((tmp_path / "installed").glob("*.dist-info/entry_points.txt")).read_text()
    assert metadata.partition("[multus.keys]\n")[2].startswith("myThingFile = ")


def test_the_annotations_of_every_kind_hold(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    for kind in KINDS:
        assert main(["new-plugin", kind, "typed", "--into", str(tmp_path)]) == 0
    written = sorted(map(str, tmp_path.rglob("*.py")))
    assert len(written) == 2 * len(KINDS)
    checked = [sys.executable, "-m", "mypy", "--strict", "--warn-unreachable", *written]
    _run(checked, tmp_path, {**os.environ, "MYPYPATH": str(ROOT)})


def test_a_folder_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    assert main(["new-plugin", "source", "inventory", "--into", str(tmp_path)]) == 0
    readme = tmp_path / "multus-source-inventory" / "README.md"
    readme.write_text("mine")
    assert main(["new-plugin", "source", "inventory", "--into", str(tmp_path)]) == 1
    assert readme.read_text() == "mine"


@pytest.mark.parametrize("name", ["Inventory", "in_ventory", "../up", "", "a--b", "9"])
def test_a_name_that_no_distribution_can_have_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new-plugin", "source", name, "--into", str(tmp_path)]) == 1
    assert repr(name) in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
