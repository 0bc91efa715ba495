"""The examples are whole distributions, short enough to read, and their tests pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").iterdir())


def _sources(folder: Path) -> list[Path]:
    endings = {".py", ".cfg", ".toml", ".md"}
    return [path for path in folder.rglob("*") if path.suffix in endings and path.is_file()]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_it_is_short(example: Path) -> None:
    lines = sum(len(path.read_text().splitlines()) for path in _sources(example))
    assert lines < 200


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_it_installs_conforms_and_its_tests_pass(example: Path, tmp_path: Path) -> None:
    target = str(tmp_path / "installed")
    environ = {**os.environ, "PYTHONPATH": target, "PYTHONDONTWRITEBYTECODE": "1"}
    copy = tmp_path / example.name
    for path in _sources(example):
        place = copy / path.relative_to(example)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    install = ["pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", target]
    plugin = example.name.removeprefix("multus-")
    for arguments in (
        [*install, str(copy)],
        ["pytest", "-q", "-p", "no:cacheprovider", str(copy / "tests")],
        ["multus", "conformance", plugin],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *arguments], capture_output=True, text=True, env=environ
        )
        assert done.returncode == 0, done.stdout + done.stderr
