"""What is wrong with installed plugins is told by every command that looks at them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from unit.registry.site import GOOD, Site

UNMARKED = f"{GOOD}\ndef multus_select(request, conf): ...\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Two plugins of one name, two owners of one key, and a hook without its mark."""
    made = Site(tmp_path / "site", tmp_path / "index.json")
    made.folder.mkdir()
    made.install("ours", plugin="source-x")
    made.install("theirs", plugin="source-x")
    made.install("a", keys=("inventory",))
    made.install("b", UNMARKED, keys=("inventory",))
    return made


def run(program: Sequence[str], site: Site, *words: str) -> tuple[int, str]:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(site.folder)}
    done = subprocess.run(
        [*program, *words], capture_output=True, text=True, timeout=60, check=False, env=environ
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


NAMES = "plugin 'source-x' of multus-ours 1.0 and plugin 'source-x' of multus-theirs 1.0"
KEYS = "plugin 'a' of multus-a 1.0 and plugin 'b' of multus-b 1.0 own the same configuration key"
HOOK = "its function multus_select is not marked as a hook"


def test_plugins_lists_it_and_fails(cni_program: Sequence[str], site: Site) -> None:
    status, text = run(cni_program, site, "plugins", "--json")
    report: dict[str, Any] = json.loads(text)
    assert status == 1
    reasons = [each["reason"] for each in report["clashes"]]
    assert reasons[0].startswith(NAMES)
    assert reasons[1].startswith(KEYS)
    (warning,) = report["warnings"]
    assert (warning["name"], HOOK in warning["reason"]) == ("b", True)
    assert len([each for each in report["plugins"] if each["name"] == "source-x"]) == 2
    status, text = run(cni_program, site, "plugins")
    assert status == 1
    for words in (NAMES, KEYS, HOOK, "uninstall all but one", "write @hookimpl above it in its_b"):
        assert words in text


def test_doctor_finds_it(cni_program: Sequence[str], site: Site) -> None:
    _, text = run(cni_program, site, "doctor", "--json", "--net-d", str(site.folder))
    findings = [each for each in json.loads(text)["findings"] if each["subject"] == "plugins"]
    by_severity = {
        severity: " ".join(each["reason"] for each in findings if each["severity"] == severity)
        for severity in ("error", "warning", "ok")
    }
    assert NAMES in by_severity["error"] and KEYS in by_severity["error"]
    assert HOOK in by_severity["warning"]
    assert by_severity["ok"] == ""


@pytest.mark.parametrize(
    ("blocked", "refused"),
    [
        ([], NAMES),
        (["multus-theirs"], KEYS),
        (["multus-theirs", "multus-b"], ""),
    ],
)
def test_validate_finds_what_a_configuration_needs(
    cni_program: Sequence[str], site: Site, tmp_path: Path, blocked: list[str], refused: str
) -> None:
    conf = {"cniVersion": "1.0.0", "name": "n", "type": "multus", "inventory": "/x"}
    conf |= {"delegates": [{"type": "ptp"}], "blockedPlugins": blocked}  # type: ignore[dict-item]
    path = tmp_path / "00-multus.conf"
    path.write_text(json.dumps(conf))
    status, text = run(cni_program, site, "validate", "--json", "-f", str(path))
    errors = [each for each in json.loads(text)["findings"] if each["severity"] == "error"]
    assert [refused in each["reason"] for each in errors] == [True] * bool(refused)
    assert status == bool(refused)
