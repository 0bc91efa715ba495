"""Every plugin of ours keeps what every plugin has to; one that does not is caught."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from multus.cli import main
from multus.plugins import discover

PLUGINS = Path(__file__).parents[3] / "plugins"
OURS = sorted(
    each.name for each in discover() if (PLUGINS / f"multus-{each.name}" / "setup.cfg").exists()
)


@pytest.mark.parametrize("name", OURS)
def test_it_conforms(name: str) -> None:
    sample = PLUGINS / f"multus-{name}" / "tests" / "sample.json"
    shown = ["--sample", str(sample)] if sample.exists() else []
    argv = [sys.executable, "-m", "multus", "conformance", name, *shown]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


_BAD = """
from multus import hookimpl
from multus.model.network import Role, Selection, Element

print("hello")

@hookimpl
def multus_select(request, conf):
    print("selecting")
    return Selection(Role.DEFAULT, (Element("x", "here", "source-bad"),), "here")

@hookimpl
def multus_merge(attachments):
    import subprocess
    return attachments[0].result if attachments else None
"""

_METADATA = "Metadata-Version: 2.1\nName: multus-source-bad\nVersion: 1.0\n"


def test_a_plugin_that_does_not_conform_is_told_how(tmp_path: Path) -> None:
    (tmp_path / "multus_source_bad.py").write_text(_BAD)
    info = tmp_path / "multus_source_bad-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(_METADATA)
    (info / "entry_points.txt").write_text("[multus]\nsource-bad = multus_source_bad\n")
    argv = [sys.executable, "-m", "multus", "conformance", "source-bad"]
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(argv, capture_output=True, text=True, env=environ)
    assert done.returncode == 1
    for said in (
        "install_requires names no version of multus",
        "standard output belongs to CNI",
        "it selects networks that nobody asked for",
    ):
        assert said in done.stdout


def test_a_plugin_that_is_not_installed_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "source-nobody"]) == 1
    assert "source-nobody" in capsys.readouterr().err
