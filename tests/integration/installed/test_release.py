"""What ``./dev release`` builds: the same bytes each time, and the shim as a wheel's name says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build", reason="pip install build to build distributions")
from tools.release import check, shims
from tools.release.build import ANYWHERE, CORE, Target, Unbuildable, build_all, working_tree
from tools.release.version import Wrong, current

PLUGIN = "plugins/multus-merger-all"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    working_tree(folder)
    return folder


@pytest.fixture(autouse=True)
def _epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


def test_two_builds_have_the_same_bytes(source: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(source / PLUGIN, moved / PLUGIN)  # with the link's contents, and other times
    umask = os.umask(0o077)
    try:
        build_all(source, tmp_path / "one", [PLUGIN])
    finally:
        os.umask(umask)
    build_all(moved, tmp_path / "two", [PLUGIN])
    one = check.sums(tmp_path / "one")
    check.same(one, check.sums(tmp_path / "two"))
    stem = f"multus_merger_all-{current()}"
    assert set(one) == {f"{stem}.tar.gz", f"{stem}-py3-none-any.whl"}
    with tarfile.open(tmp_path / "one" / f"{stem}.tar.gz") as sdist:
        assert {(each.mtime, each.uid, each.uname) for each in sdist} == {(1700000000, 0, "")}
    with pytest.raises(Wrong, match=rf"these differ: {stem}\.tar\.gz"):
        check.same(one, {**one, f"{stem}.tar.gz": "0"})


def test_the_licence_is_in_an_sdist_and_in_a_wheel(source: Path, tmp_path: Path) -> None:
    sdist, wheel = sorted(build_all(source, tmp_path, [PLUGIN]), key=lambda path: path.suffix)
    with tarfile.open(sdist) as archive, zipfile.ZipFile(wheel) as files:
        inside = [each.name for each in archive if each.isfile()]
        assert f"multus_merger_all-{current()}/LICENSE" in inside
        assert any(each.endswith("licenses/LICENSE") for each in files.namelist())


def test_the_cores_wheels_have_the_shim_that_their_names_promise(
    source: Path, tmp_path: Path
) -> None:
    machine = os.uname().machine
    if shutil.which("cc") is None or machine not in ("x86_64", "aarch64"):
        pytest.skip("no C compiler")
    made = build_all(source, tmp_path, [CORE], [ANYWHERE, Target(f"musllinux_1_1_{machine}")])
    shims.check(made)
    pure, ours = sorted(path for path in made if path.suffix == ".whl")
    assert pure.name == f"multus-{current()}-py3-none-any.whl"
    assert ours.name == pure.name.replace("any", f"musllinux_1_1_{machine}")
    for path, name, reason in (
        (ours, pure.name, "has a shim of one"),
        (ours, pure.name.replace("any", "musllinux_1_1_s390x"), f"its shim is of {machine}"),
        (pure, ours.name, "has no shim"),
    ):
        wrong = tmp_path / "wrong" / name
        wrong.parent.mkdir(exist_ok=True)
        shutil.copy(path, wrong)
        with pytest.raises(Wrong, match=reason):
            shims.check([wrong])


def test_without_a_static_shim_there_is_no_wheel_for_an_index(source: Path, tmp_path: Path) -> None:
    with pytest.raises(Unbuildable, match="no compiler links multus-shim statically"):
        build_all(source, tmp_path, [CORE], [Target("musllinux_1_1_x86_64", "false")])


def test_dev_version_compares_every_place() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "tools/release/version.py"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.split(",")[0]) == (0, current())
