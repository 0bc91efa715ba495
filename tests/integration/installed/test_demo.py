"""`multus demo` where not every network has a plugin that attaches it in-process."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from multus.testing.delegates import real_plugin

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.skipif(real_plugin("macvlan") is None, reason="no containernetworking-plugins"),
]


def test_a_network_without_a_plugin_is_attached_by_its_program(
    environment: Path, tmp_path: Path
) -> None:
    (metadata,) = environment.glob("lib/python3*/site-packages/multus_invoker_vlans-*.dist-info")
    away = metadata.rename(tmp_path / metadata.name)
    try:
        done = subprocess.run(
            [environment / "bin/multus", "demo"], capture_output=True, text=True, check=True
        )
    finally:
        away.rename(metadata)
    assert "CNI programs that it can start: host-local, macvlan, static\n" in done.stdout
    assert re.findall(r"(\S+) +(in-process|program) ", done.stdout) == [
        ("bridge", "in-process"),
        ("macvlan", "program"),
        ("ptp", "in-process"),
    ]
