"""An invoker that is written from the pages alone: public modules, and conformance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from unit.test_architecture import trespassing

from integration.authors.given import RANGE, installed

TEXT = (Path(__file__).parent / "leaf.py").read_text()

#: The conformance suite's node has ``uplink``.
SAMPLE = {
    "plugin": {
        "type": "leaf",
        "master": "uplink",
        "mtu": 1400,
        "ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "dataDir": "@TMP@/ipam"},
    }
}


def test_it_imports_public_modules_only() -> None:
    assert trespassing(TEXT) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_it_conforms_and_shows_all_that_an_invoker_does(tmp_path: Path) -> None:
    path = installed(tmp_path, "invoker-leaf", TEXT, requires=RANGE)
    sample = tmp_path / "sample.json"
    sample.write_text(json.dumps(SAMPLE))
    argv = [sys.executable, "-m", "multus", "conformance", "invoker-leaf", "--sample", str(sample)]
    environ = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": path}
    done = subprocess.run(argv, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout.splitlines()[-1], done.stdout
