"""Ways to carry the work out: the delegates one by one, or a program that does it for them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from bench.workload import VERSION, Workload, environ
from multus.execute import Executor
from multus.testing.delegates import real_plugin
from multus.testing.runtime import Container


class Way:
    """A row of the report."""

    name: str

    def call(self, command: str, work: Workload, container: Container) -> float:
        """Carry *command* out; returns the seconds from start to answer; raises when it fails."""
        raise NotImplementedError(f"{type(self).__name__} does not say how")


@frozen
class Direct(Way):
    """Each delegate's binary in turn, with no meta-plugin: what nothing that execs can beat."""

    name: str = "direct exec"

    def call(self, command: str, work: Workload, container: Container) -> float:
        delegates = list(enumerate(work.delegates()))
        begin = time.perf_counter()
        for index, conf in delegates if command == "ADD" else reversed(delegates):
            stdin = json.dumps({"cniVersion": VERSION, **conf}).encode()
            ifname = "eth0" if index == 0 else f"net{index - 1}"
            path = real_plugin(conf["type"])
            run([str(path)], stdin, environ(command, container, ifname))
        return time.perf_counter() - begin


@frozen
class Program(Way):
    """A meta-plugin: an argument vector, keys for its configuration, variables for its process."""

    name: str
    argv: Sequence[str]
    keys: Mapping[str, Any] = field(factory=dict)
    variables: Mapping[str, str] = field(factory=dict)

    def call(self, command: str, work: Workload, container: Container) -> float:
        stdin = work.conf(**self.keys)
        variables = {**environ(command, container), **self.variables}
        begin = time.perf_counter()
        run(self.argv, stdin, variables)
        return time.perf_counter() - begin


def run(argv: Sequence[str], stdin: bytes, variables: Mapping[str, str]) -> bytes:
    """Run a program to its end with as little of our own time as can be; returns its stdout."""
    finished = Executor(()).run(argv, stdin, variables, timeout=120)
    if finished.status:
        said = (finished.stdout + finished.stderr).decode(errors="replace")
        raise RuntimeError(f"{' '.join(argv)} ended with status {finished.status}: {said}")
    return finished.stdout
