"""Ways to carry the work out: the delegates one by one, or a program that does it for them."""

from __future__ import annotations

import json
import os
import secrets
import time
from binascii import crc32
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from attrs import evolve, field, frozen

from bench.node import Cluster, Daemon
from bench.workload import VERSION, Workload, environ
from multus.api.execute import Executor
from multus.cli import engines
from multus.testing.delegates import real_plugin
from multus.testing.netns import Netns
from multus.testing.runtime import Container

#: The variables of a process that carries its call out itself, and leaves no engine.
ALONE: Mapping[str, str] = {"MULTUS_STANDALONE": "1"}


class Way:
    """A row of the report."""

    name: str

    def container(self, work: Workload, pod: Netns) -> Container:
        """The container to call for, made known to whoever has to know it; not timed."""
        return Container(pod.path)

    def forget(self, container: Container) -> None:
        """The container is gone."""

    def settle(self) -> None:
        """Wait for what is done behind the answers: it is none of the next figure's work."""

    def call(self, command: str, work: Workload, container: Container) -> float:
        """Carry *command* out; returns the seconds from start to answer; raises when it fails."""
        raise NotImplementedError(f"{type(self).__name__} does not say how")


@frozen
class Direct(Way):
    """Each delegate's binary in turn, with no meta-plugin: what nothing that execs can beat."""

    name: str = "direct exec"
    #: What each chain's container got, by the container's ID: its DEL needs it.
    results: dict[str, bytes] = field(factory=dict)

    def call(self, command: str, work: Workload, container: Container) -> float:
        networks = list(enumerate(work.plugins()))
        begin = time.perf_counter()
        for index, plugins in networks if command == "ADD" else reversed(networks):
            ifname = "eth0" if index == 0 else f"net{index - 1}"
            variables = environ(command, container, ifname)
            if len(plugins) == 1:
                run([_binary(plugins[0])], json.dumps(plugins[0]).encode(), variables)
            elif command == "ADD":
                self.results[container.id] = _chain(plugins, b"", variables)
            else:
                _chain(plugins[::-1], self.results.pop(container.id, b""), variables)
        return time.perf_counter() - begin


def _chain(
    plugins: Sequence[Mapping[str, Any]], result: bytes, variables: Mapping[str, str]
) -> bytes:
    """Start one binary after the other, each with the result before it; returns the last one's."""
    for each in plugins:
        previous = {"prevResult": json.loads(result)} if result else {}
        stdin = json.dumps({**each, **previous}).encode()
        result = run([_binary(each)], stdin, variables) or result
    return result


def _binary(conf: Mapping[str, Any]) -> str:
    return str(real_plugin(conf["type"]))


@frozen
class Program(Way):
    """A meta-plugin: an argument vector, keys for its configuration, variables for its process.

    ``how`` is ``exec`` or ``in-process``; a peer has neither.
    """

    name: str
    argv: Sequence[str]
    how: str = ""
    keys: Mapping[str, Any] = field(factory=dict)
    variables: Mapping[str, str] = field(factory=dict)

    def call(self, command: str, work: Workload, container: Container) -> float:
        stdin = work.conf(self.how, **self.keys)
        variables = {**environ(command, container), **self.variables}
        begin = time.perf_counter()
        run(self.argv, stdin, variables)
        return time.perf_counter() - begin


@frozen
class Pods(Way):
    """A program that asks an API server which networks a pod wants.

    The first network is the node's default; the pod's annotation names definitions for the others.
    """

    name: str
    program: Program
    cluster: Cluster
    daemon: Daemon | None = None
    living: dict[str, str] = field(factory=dict)

    def container(self, work: Workload, pod: Netns) -> Container:
        name = f"pod-{secrets.token_hex(4)}"
        uid = self.cluster.pod(name, [self._define(work, each) for each in work.delegates()[1:]])
        container = Container(pod.path)
        args = {
            "IgnoreUnknown": "1",
            "K8S_POD_NAMESPACE": "default",
            "K8S_POD_NAME": name,
            "K8S_POD_UID": uid,
        }
        self.living[container.id] = name
        if self.daemon is not None:
            self.daemon.wait_known(len(self.living))
        return evolve(container, args=";".join(f"{key}={value}" for key, value in args.items()))

    def _define(self, work: Workload, config: Mapping[str, Any]) -> str:
        # A definition holds the path of the store, and each workload has its own.
        name = f"{config['name']}-{crc32(work.folder.encode()):x}"
        self.cluster.definition(name, {"cniVersion": VERSION, **config})
        return name

    def forget(self, container: Container) -> None:
        self.cluster.delete(f"/api/v1/namespaces/default/pods/{self.living.pop(container.id)}")

    def settle(self) -> None:
        if self.daemon is not None:
            self.daemon.wait_written()

    def call(self, command: str, work: Workload, container: Container) -> float:
        keys = {
            "kubeconfig": self.cluster.kubeconfig,
            "delegates": work.delegates()[:1],
            "tenantPaths": {"dataDir": [f"{work.folder}/ipam"]},
        }
        program = evolve(self.program, keys={**self.program.keys, **keys})
        return program.call(command, work, container)


def warm(stack: ExitStack, folder: str, shim: str) -> Program:
    """A node without a daemon: the engine that the first call leaves carries out the next ones.

    It is ended with the *stack*.
    """
    stack.callback(lambda: list(engines.end(folder)))
    variables = {"MULTUS_SOCKET": os.path.join(folder, "multus.sock")}
    name = "in-process, warm engine"
    return Program(name, (shim,), "in-process", {"warmSeconds": 600}, variables)


def run(argv: Sequence[str], stdin: bytes, variables: Mapping[str, str]) -> bytes:
    """Run a program to its end with as little of our own time as can be; returns its stdout."""
    finished = Executor(()).run(argv, stdin, variables, timeout=120)
    if finished.status:
        said = (finished.stdout + finished.stderr).decode(errors="replace")
        raise RuntimeError(f"{' '.join(argv)} ended with status {finished.status}: {said}")
    return finished.stdout
