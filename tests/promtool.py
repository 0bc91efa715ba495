"""Prometheus' own checker."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest
from network import reachable

#: Debian's package has the server too, and starts it; the checker alone is unpacked here.
_KEPT = Path.home() / ".cache" / "multus" / "promtool"


def checked(*arguments: str, text: str = "") -> str:
    """What ``promtool`` says of its arguments, or of *text*; it has to succeed."""
    program = _program()
    if program is None:
        pytest.skip("promtool is not installed")
    argv = [program, *arguments]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@lru_cache(maxsize=1)
def _program() -> str | None:
    found = shutil.which("promtool")
    if found is None and not _KEPT.exists() and reachable() and shutil.which("apt-get"):
        _unpack()
    return found or (str(_KEPT) if _KEPT.exists() else None)


def _unpack() -> None:
    """Take it out of Debian's package, without installing that."""
    _KEPT.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_KEPT.parent) as folder:
        fetch = ["apt-get", "-qq", "download", "prometheus"]
        subprocess.run(fetch, cwd=folder, capture_output=True, check=False)
        for package in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(package), folder], check=True)
            os.replace(Path(folder, "usr/bin/promtool"), _KEPT)
