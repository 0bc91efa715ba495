"""The black-box suite by every way in: the installed program, the C shim, and the Python one.

Beside what a test itself asserts, the answers that the shims give have to be the program's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from attrs import field, frozen

from integration.blackbox.program import Multus
from integration.daemon.node import Daemon
from multus.testing.delegates import BinDir
from multus.testing.netns import Node
from multus.testing.runtime import Answer, Runtime


@pytest.fixture(scope="session")
def cni_node() -> Iterator[Node]:
    """One node for all, since the daemon stays on it."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root, at least of a user namespace")
    node = Node.create()
    yield node
    node.remove()


@pytest.fixture(scope="session")
def daemon(cni_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    running = Daemon(folder, cni_node, {"cniDir": str(folder / "state")}).start()
    yield running
    running.stop()


#: What differs from one call to the next, whoever answers it.
_PASSING = {
    r"([0-9a-f]{2}:){5}[0-9a-f]{2}": "MAC",
    r"veth[0-9a-f]{8}": "VETH",
    r"\bc[0-9a-f]{16}\b": "CONTAINER",
    r"/run/netns/[\w-]+": "NETNS",
    r"(?<=process )\d+": "PID",
}


@frozen
class Heard(Runtime):
    """A runtime that keeps every answer that it gets."""

    answers: list[Answer] = field(factory=list)

    def start(self, environ: Mapping[str, str], stdin: bytes, *args: str) -> Answer:
        answer = super().start(environ, stdin, *args)
        self.answers.append(answer)
        return answer

    def in_general(self, folder: Path) -> list[str]:
        """All answers without what is passing, sorted: some tests call from several threads."""
        return sorted(
            _in_general(f"{each.status} {each.stdout.decode(errors='replace')}", folder)
            for each in self.answers
        )


def _in_general(text: str, folder: Path) -> str:
    text = text.replace(str(folder), "FOLDER")
    for pattern, name in _PASSING.items():
        text = re.sub(pattern, name, text)
    return text


@pytest.fixture(scope="session")
def by_the_program() -> dict[str, list[str]]:
    """What the installed program answered, by test."""
    return {}


@pytest.fixture(params=["installed", "c", "python"])
def multus(
    request: pytest.FixtureRequest,
    programs: Mapping[str, str],
    daemon: Daemon,
    cni_runtime: Runtime,
    cni_bin: BinDir,
    cni_node: Node,
    tmp_path: Path,
    by_the_program: dict[str, list[str]],
) -> Iterator[Multus]:
    """One of the ways in, on a node where the daemon runs."""
    way = request.param
    if way == "installed":
        program, environ = cni_runtime.program, cni_runtime.environ
    elif way in programs:
        program = (programs[way],)
        environ = {**daemon.environ(), "ASAN_OPTIONS": "detect_leaks=0"}
    else:
        pytest.skip("no C compiler")
    runtime = Heard(program, cni_runtime.cni_path, cni_runtime.node, environ, cni_runtime.timeout)
    yield Multus(
        runtime=runtime,
        bin=cni_bin,
        node=cni_node,
        cni_dir=str(tmp_path / "multus"),
        ipam_dir=str(tmp_path / "ipam"),
    )
    test, found = re.subn(rf"(?<=[\[-]){way}(?=[]-])", "WAY", request.node.nodeid, count=1)
    assert found, f"{request.node.nodeid} does not say which way it goes"
    answers = runtime.in_general(tmp_path)
    if way == "installed":
        by_the_program[test] = answers
    elif test in by_the_program:
        assert answers == by_the_program[test], "the installed program answers otherwise"
