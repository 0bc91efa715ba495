"""Every plugin of ours keeps what every plugin has to; one that does not is caught."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from kernel import require_nftables
from repository import ROOT, plugins

from integration.authors.given import installed
from multus.cli import main
from multus.registry.index import discover

SAMPLES = {
    name.removeprefix("multus-"): ROOT / "plugins" / name / "tests" / "sample.json"
    for name in sorted(plugins())
}
INSTALLED = sorted({each.name for each in discover()} & set(SAMPLES))

#: Why a plugin need not show something that others of its kind have to.
NOT_SHOWN: Mapping[str, tuple[str, ...]] = {
    "invoker-exec": ("it passes every key on",),
    "source-conffile": ("the sample has no 'away', so no service can be unreachable",),
}


def conformance(
    name: str, sample: Path | None = None, *options: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    shown = ["--sample", str(sample)] if sample else []
    passed_on = ["--", *options] if options else []
    argv = [sys.executable, "-m", "multus", "conformance", name, *shown, *passed_on]
    return subprocess.run(argv, capture_output=True, text=True, env=environ or None)


@pytest.mark.parametrize("name", SAMPLES)
def test_it_has_a_sample_that_shows_its_work(name: str) -> None:
    assert SAMPLES[name].exists(), "write one: multus.testing.conformance says what it holds"


@pytest.mark.parametrize("name", INSTALLED)
def test_it_conforms_and_shows_all_that_its_kind_does(name: str) -> None:
    if "nftables" in SAMPLES[name].read_text():
        require_nftables()
    done = conformance(name, SAMPLES[name])
    assert done.returncode == 0, done.stdout + done.stderr
    kind = name.partition("-")[0]
    skipped = re.findall(rf"SKIPPED \[\d+\] \S+/test_{kind}\.py:\d+: (.+)", done.stdout)
    assert tuple(skipped) == NOT_SHOWN.get(name, ())


_BAD = """
from multus import hookimpl
from multus.api.network import Role, Selection, Element

print("hello")

@hookimpl
def multus_select(request, conf):
    print("selecting")
    return Selection(Role.DEFAULT, (Element("x", "here", "source-bad"),), "here")

@hookimpl
def multus_merge(attachments):
    import subprocess
    return attachments[0].result if attachments else None

def multus_resolve(element):
    return None
"""

#: Does without the networks of a pod that it cannot read.
_MEEK = """
from multus import hookimpl
from multus.api.errors import CNIError
from multus.api.kubernetes import view_of
from multus.api.network import Element, Role, Selection

@hookimpl
def multus_select(request, conf, session):
    view = view_of(request, conf, session)
    try:
        chosen = view and view.annotation("example.org/network")
    except CNIError:
        return None
    if not chosen:
        return None
    element = Element(chosen, "the pod", source="source-meek", config={"type": chosen})
    return Selection(Role.ADDED, (element,), "the pod")
"""

_POD = {"name": "web", "annotations": {"example.org/network": "macvlan"}}


def test_a_plugin_that_does_not_conform_is_told_how(tmp_path: Path) -> None:
    path = installed(tmp_path, "source-bad", _BAD)
    done = conformance("source-bad", PATH="/usr/bin:/bin", PYTHONPATH=path)
    assert done.returncode == 1
    for said in (
        "install_requires names no version of multus",
        "standard output belongs to CNI",
        "it selects unrequested networks",
        "its function multus_resolve is not marked as a hook",
    ):
        assert said in done.stdout


#: What it is called would colour a terminal.
_LOUD = """
from multus import hookimpl

@hookimpl
def multus_health(conf):
    raise ValueError("\\x1b[31mred")
"""


def test_what_a_plugin_says_reaches_no_terminal_as_it_is(tmp_path: Path) -> None:
    path = installed(tmp_path, "source-loud", _LOUD)
    done = conformance("source-loud", PATH="/usr/bin:/bin", PYTHONPATH=path)
    assert "red" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("before", [True, False])
def test_options_for_pytest_follow_the_dashes(before: bool) -> None:
    sample = ["--sample", str(SAMPLES["merger-primary"])]
    words = [*sample, "merger-primary"] if before else ["merger-primary", *sample]
    argv = [sys.executable, "-m", "multus", "conformance", *words, "--", "-k", "prints", "-v"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_importing_it_prints_nothing PASSED" in done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("away", ["@NOWHERE@", "@SILENT@"])
def test_a_source_that_does_without_an_api_server_that_is_away_is_caught(
    tmp_path: Path, away: str
) -> None:
    path = installed(tmp_path, "source-meek", _MEEK)
    sample = {
        "objects": [{"apiVersion": "v1", "kind": "Pod", "metadata": _POD}],
        "conf": {"kubeconfig": "@KUBECONFIG@"},
        "away": {"kubeconfig": away, "apiTimeout": 1},
    }
    file = tmp_path / "sample.json"
    file.write_text(json.dumps(sample))
    options = ("-k", "test_source", "-rf")
    done = conformance("source-meek", file, *options, PATH="/usr/bin:/bin", PYTHONPATH=path)
    failed = re.findall(r"^FAILED \S+::(\w+)", done.stdout, re.MULTILINE)
    assert failed == ["test_a_source_that_is_away_fails_the_request"], done.stdout
    assert "2 passed" in done.stdout


def test_a_plugin_that_is_not_installed_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "source-nobody"]) == 1
    assert "source-nobody" in capsys.readouterr().err
