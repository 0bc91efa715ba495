"""Notifications to the service manager, and their failures."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from multus.daemon.systemd import Notifier


def test_a_missing_manager_or_a_lack_of_descriptors_is_not_an_error(
    tmp_path: Path,
) -> None:
    notifier = Notifier(str(tmp_path / "nobody-listens"))
    notifier.alive()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        notifier.alive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_full_standard_error_is_not_an_error(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
        try:
            Notifier(str(tmp_path / "nobody-listens")).ready()
        except OSError:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
