"""The core and every plugin, built as wheels and installed into an environment of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from network import require_network

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment as `./dev bench` makes it; skips without venv or network."""
    require_network()
    folder = tmp_path_factory.mktemp("installed")
    made = subprocess.run([sys.executable, "-m", "venv", str(folder)], check=False)
    if made.returncode:
        pytest.skip("no virtual environment can be made: install python3-venv")
    plugins = [str(path.parent.relative_to(ROOT)) for path in ROOT.glob("plugins/*/setup.cfg")]
    subprocess.run(
        ["sh", "dev", "wheels", str(folder / "bin/python"), "all,test", *sorted(plugins)],
        cwd=ROOT,
        env=os.environ,
        check=True,
        timeout=600,
    )
    return folder
