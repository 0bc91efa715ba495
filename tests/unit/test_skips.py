"""The root's ``conftest.py``: skips are counted by reason, and unknown reasons fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TESTS = """
import pytest

@pytest.mark.parametrize("number", range(10))
def test_that_skips(number):
    pytest.skip("no horse")

@pytest.mark.skipif(True, reason="no cart 7")
def test_that_is_not_begun():
    pass

@pytest.mark.xfail
def test_that_may_fail():
    assert False
"""
MODULE = """
import pytest
pytest.importorskip("no_such_module", reason="no stable")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_some.py").write_text(TESTS)
    return tmp_path


def run(folder: Path, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("parallel", [(), ("-n", "2")], ids=["alone", "parallel"])
def test_they_are_counted_by_reason(folder: Path, parallel: tuple[str, ...]) -> None:
    status, shown = run(folder, *parallel)
    assert status == 0
    assert "skipped, by reason" in shown
    table = re.findall(r"^ +(\d+)  (.+)$", shown, re.MULTILINE)
    assert table == [("10", "no horse"), ("1", "no cart 7")]


@pytest.mark.parametrize("parallel", [(), ("-n", "2")], ids=["alone", "parallel"])
def test_an_unknown_reason_fails_the_run(folder: Path, parallel: tuple[str, ...]) -> None:
    (folder / "known").write_text("# why\nno horse\n")
    status, shown = run(folder, "--known-skips", "known", *parallel)
    assert status == 1
    assert "skipped for a reason that known does not have: no cart 7" in shown
    assert "10 skipped, 1 xfailed, 1 error" in shown


def test_known_reasons_and_shell_patterns_pass(folder: Path) -> None:
    (folder / "known").write_text("no horse\nno cart *\n")
    assert run(folder, "--known-skips", "known")[0] == 0


def test_a_module_that_is_skipped_counts_as_well(folder: Path) -> None:
    (folder / "test_module.py").write_text(MODULE)
    assert "     1  no stable" in run(folder)[1]
    (folder / "known").write_text("no horse\nno cart *\n")
    status, shown = run(folder, "--known-skips", "known")
    assert status == 2
    assert "no stable" in shown


def test_each_nth_test_of_all_is_run(folder: Path) -> None:
    assert "3 skipped, 9 deselected" in run(folder, "--every", "4")[1]


def test_what_this_kernel_lacks_is_noted_for_another(folder: Path) -> None:
    (folder / "test_lacking.py").write_text(
        'import pytest\n\n@pytest.mark.parametrize("kind", ["a horse", "two"])\n'
        'def test_kind(kind):\n    pytest.skip(f"this kernel lacks a kind of {kind}")\n'
    )
    run(folder, "--note-lacking", "noted")
    noted = (folder / "noted").read_text()
    assert noted.splitlines() == [
        f"test_lacking.py::test_kind[{kind}]" for kind in ("a horse", "two")
    ]
    if pytest.version_tuple >= (8, 2):  # which reads such a file, as ./dev vm has it do
        assert "2 skipped in" in run(folder, "@noted")[1]
    run(folder, "--note-lacking", "noted", "-k", "horse and not kind")
    assert (folder / "noted").read_text() == ""
