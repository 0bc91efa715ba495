from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from network import require_network

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Containerfile's own script builds; there it is /opt/multus."""
    if not any(shutil.which(each) for each in ("cc", "gcc", "musl-gcc")):
        pytest.skip("the shim needs a C compiler")
    require_network()
    target = tmp_path_factory.mktemp("image") / "multus"
    script = ROOT / "deploy" / "image" / "build.sh"
    done = subprocess.run(
        ["sh", str(script), str(ROOT), str(target)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target
