"""A throw-away node: namespaces and folders of its own, which go with it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_SCRIPT = f". {Path(__file__).with_name('node.sh')}; exec sleep inf"
_KINDS = ("--mount", "--net", "--uts", "--pid")
#: Seconds until the node has to be ready.
_PATIENCE = 120


@contextlib.contextmanager
def node() -> Iterator[tuple[str, ...]]:
    """Start a node, as ``node.sh`` has it; what runs a program in it.  Needs root."""
    with tempfile.TemporaryDirectory(prefix="multus-screens-") as folder:
        programs = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}:/usr/sbin:/sbin"
        with Path(folder, "setup.log").open("w") as log:
            holder = subprocess.Popen(
                ["unshare", *_KINDS, "--mount-proc", "--fork", "--kill-child", "sh", "-c", _SCRIPT],
                cwd=folder,
                env={**os.environ, "PATH": programs, "HOME": folder},
                stdout=log,
                stderr=log,
            )
        try:
            _wait(holder, Path(folder))
            target = f"--target={_child(holder.pid)}"
            yield ("nsenter", target, *_KINDS, "env", f"PATH={programs}", f"HOME={folder}")
        finally:
            # The first process of its PID namespace ends with it, and so do all others.
            holder.kill()
            holder.wait()


def _wait(holder: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not (folder / "ready-for-pictures").exists():
        if holder.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the node did not start:\n{(folder / 'setup.log').read_text()}")
        time.sleep(0.1)


def _child(process: int) -> int:
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[0])
