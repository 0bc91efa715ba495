"""A container image of one static program, as an OCI image layout in a tar file."""

from __future__ import annotations

import shutil
from pathlib import Path

from tools.image import layers, oci
from tools.image.__main__ import ARCHITECTURES

BUSYBOX = "/bin/busybox"
NAME = "docker.io/e2e/busybox:1"

_APPLETS = ("cat", "ip", "ls", "nc", "sh", "sleep", "true")
_FOLDERS = ("bin", "dev", "etc", "proc", "sys", "tmp")


def write(path: Path, machine: str) -> None:
    """Write the image for this *machine* (as ``uname -m`` says) to *path*."""
    root = path.with_suffix(".root")
    for name in _FOLDERS:
        (root / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    for name in _APPLETS:
        (root / "bin" / name).symlink_to("busybox")
    layer = layers.pack(root, layers.below(root), path.with_suffix(".layer"), epoch=0)
    config = {"Cmd": ["/bin/sleep", "600"], "Env": ["PATH=/bin"]}
    named = {each.machine: each.name for each in ARCHITECTURES.values()}
    oci.write(path, NAME, [oci.Image(named.get(machine, machine), [layer], config)])
