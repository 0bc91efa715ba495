"""`multus demo`, on a machine that has no CNI program."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from multus.testing.delegates import SYSTEM_FOLDERS
from multus.testing.runtime import installed_program

README = Path(__file__).parents[3] / "README.md"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and namespaces need root")


def demo(*prefix: str) -> str:
    done = subprocess.run(
        [*prefix, *installed_program(), "demo"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(shown: str) -> dict[str, tuple[str, str]]:
    """The table: ``{interface: (plugin, how it was attached)}``."""
    found = re.findall(r"^(\w+) +[\d.]+/24 .* (\S+) +(\S+) +[\d.]+ ms", shown, re.MULTILINE)
    return {ifname: (plugin, how) for ifname, plugin, how in found}


def shape(shown: str) -> list[str]:
    """The words of every line, without what differs from run to run."""
    differs = r"[0-9a-f]{2}(:[0-9a-f]{2}){5}|\b[0-9a-f]{8}\b|(?<=veth)[0-9a-f]+|[\d.]+(?= ms)"
    lines = (re.sub(differs, "…", line) for line in shown.splitlines())
    return [" ".join(line.replace("─", "").split()) for line in lines if line.strip(" ─")]


def test_without_any_cni_binary_it_shows_what_the_readme_says_and_leaves_nothing() -> None:
    hide = " && ".join(
        f"mount -t tmpfs tmpfs {folder}" for folder in SYSTEM_FOLDERS if os.path.isdir(folder)
    )
    shown = demo("unshare", "--mount", "sh", "-c", f'{hide or "true"} && exec "$@"', "sh")
    assert shape(shown) == shape(README.read_text().split("```text\n")[1].split("```")[0])
    assert "CNI programs that it can start: none\n" in shown
    assert rows(shown) == {
        "eth0": ("bridge", "in-process"),
        "net0": ("macvlan", "in-process"),
        "net1": ("ptp", "in-process"),
    }
    assert '"address": "10.1.0.2/24"' in shown
    assert "Left behind on the node and in the pod: nothing." in shown


def test_an_ordinary_user_without_user_namespaces_is_told_what_to_do() -> None:
    forbid = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    ordinary = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps")
    done = subprocess.run(
        [*ordinary, "sh", "-c", forbid, "sh", *installed_program(), "demo"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "unshare failed" in done.stderr
    assert "run it as root" in done.stderr


def test_an_ordinary_user_sees_the_same_in_a_user_namespace() -> None:
    ordinary = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    nested = subprocess.run([*ordinary, "unshare", "-Urnm", "true"], check=False)
    if nested.returncode:
        pytest.skip("user namespaces are not allowed here")
    assert set(rows(demo(*ordinary))) == {"eth0", "net0", "net1"}
