"""For every input on stdin, in annotations or files: one JSON object, and no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from reliability.conftest import Say
from reliability.ground import Ground

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

#: Runs a program in a mount namespace where only the folder $1 is writable.
APART = """
mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,bind,ro / &&
shift && exec "$@"
"""


def test_no_input_gets_a_traceback(
    on_ground: Ground, tmp_path: Path, full_size: bool, say: Say
) -> None:
    inputs = 100_000 if full_size else 6_000
    seed = int.from_bytes(os.urandom(4), "big")
    folder = tmp_path / "fuzz"
    folder.mkdir(mode=0o700)
    apart = ["unshare", "-m", "sh", "-c", APART, "sh", str(folder)]
    command = [sys.executable, "-m", "reliability.fuzz", "--folder", str(folder)]
    command += ["--netns", on_ground.container("c1").netns]
    done = subprocess.run(
        [*apart, *command, "--inputs", str(inputs), "--seed", str(seed)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        check=False,
    )
    assert done.stdout, done.stderr.decode()[-4000:]
    report = json.loads(done.stdout)
    assert report["wrong"] == [], f"seed {seed}"
    assert report["changed"] == [], f"seed {seed}"
    say(f"fuzz: {inputs} inputs, seed {seed}, answers by kind and code: {report['codes']}")
    assert sum(report["codes"].values()) > inputs * 0.8
