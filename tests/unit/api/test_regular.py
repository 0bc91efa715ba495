"""Who holds the lock of a file, also where stat(2) has other numbers for it than the kernel."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from multus.api import regular

#: Takes the lock of the file in its argument, and says who holds it when another asks.
HELD = """
import fcntl, os, sys
from multus.api import regular

held = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(held, fcntl.LOCK_EX)
print(os.getpid(), regular.holder(os.open(sys.argv[1], os.O_RDWR)))
"""
MOUNT = """
cd "$1" && mkdir lower over merged && mount -t tmpfs none over && mkdir over/upper over/work &&
mount -t overlay -o lowerdir=lower,upperdir=over/upper,workdir=over/work none merged || exit 9
exec "$2" -c "$3" merged/lock
"""


def test_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as held, path.open("w") as asking:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert regular.holder(asking.fileno()).startswith(f"process {os.getpid()} '")


def test_one_without_a_mount_is_named() -> None:
    with open("/proc/thread-self/ns/net") as held, open("/proc/thread-self/ns/net") as asking:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert regular.holder(asking.fileno()).startswith(f"process {os.getpid()} '")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_it_is_named_on_overlayfs(tmp_path: Path) -> None:
    """One of two file systems, as a container's root is: stat's device is not the kernel's."""
    command = ["unshare", "-m", "sh", "-c", MOUNT, "sh", str(tmp_path), sys.executable, HELD]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 9:
        pytest.skip("this kernel lacks overlayfs")
    process, _, said = done.stdout.partition(" ")
    assert said.startswith(f"process {process} '"), done.stderr


def test_nobody_is_named_when_the_kernel_does_not(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file:
        assert regular.holder(file.fileno()) == "another process"
