from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from attrs import evolve

from integration.blackbox.program import Multus
from multus.cli import engines
from multus.cni import shim
from multus.testing.delegates import BinDir
from multus.testing.netns import Node
from multus.testing.runtime import Runtime

from ..conftest import SHIMS
from .node import Warm

_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


@pytest.fixture
def warm_of(
    cni_runtime: Runtime,
    cni_bin: BinDir,
    cni_node: Node,
    cni_program: tuple[str, ...],
    programs: Mapping[str, str],
    tmp_path: Path,
) -> Iterator[Callable[[str], Warm]]:
    """Makes a node with one of the shims, and without a daemon."""
    cni_bin.real("ptp", "host-local")
    folder = tmp_path / "opt"
    folder.mkdir()
    program = folder / "multus"
    run = tmp_path / "run"

    def install(kind: str) -> Warm:
        if kind not in programs:
            pytest.skip("no C compiler")
        if kind == "c":
            shutil.copy(programs["c"], str(program))
            shutil.copy(cni_program[0], str(folder / "multus-standalone"))
        else:
            program.write_text(shim.launcher())
            program.chmod(0o755)
        environ = {
            "PATH": _PATH,
            "MULTUS_SOCKET": str(run / "multus.sock"),
            "ASAN_OPTIONS": "detect_leaks=0",
        }
        runtime = evolve(cni_runtime, program=(str(program),), environ=environ)
        state, ipam = str(tmp_path / "multus"), str(tmp_path / "ipam")
        return Warm(Multus(runtime, cni_bin, cni_node, state, ipam), run)

    yield install
    list(engines.end(str(run)))


@pytest.fixture(params=SHIMS)
def warm(request: pytest.FixtureRequest, warm_of: Callable[[str], Warm]) -> Warm:
    return warm_of(request.param)


@pytest.fixture
def one(warm_of: Callable[[str], Warm], programs: Mapping[str, str]) -> Warm:
    """The same, for what does not depend on the shim."""
    return warm_of("c" if "c" in programs else "python")
