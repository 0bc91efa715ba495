"""What is measured: a daemon, an API server, and the ways to them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack

from bench import rounds, sandboxes
from bench.node import Cluster, Daemon, c_shim, cluster, daemon
from bench.pods import namespaces
from bench.sandboxes import Row
from bench.ways import ALONE, Pods, Program, Way, warm
from bench.workload import Workload
from multus.testing.netns import Netns
from multus.testing.runtime import Container, installed_program

_HOWS = ("exec", "in-process")


class Subjects:
    """The processes that run during all measurements."""

    def __init__(self, stack: ExitStack, folder: str) -> None:
        self._folder = folder
        self.cluster: Cluster = stack.enter_context(cluster(os.path.join(folder, "api")))
        self.daemon: Daemon = stack.enter_context(
            daemon(os.path.join(folder, "daemon"), kubeconfig=self.cluster.kubeconfig)
        )
        self._warm = warm(stack, os.path.join(folder, "warm"), self._shim())
        self.pods = self._pods("in-process, C shim, API", "in-process", self._shim())

    def programs(self) -> list[Program]:
        """Every way in without an API server."""
        through = {"C shim": self._shim(), "Python shim": self.daemon.python_shim}
        return [
            *(
                Program(f"{how}, {name}", (path,), how, variables=self.daemon.variables)
                for name, path in through.items()
                for how in _HOWS
            ),
            *(
                Program(f"{how}, standalone", installed_program(), how, variables=ALONE)
                for how in _HOWS
            ),
            self._warm,
        ]

    def ways(self) -> list[Way]:
        """What is measured one pod at a time; those with an API server write statuses too."""
        return [
            self.pods,
            self._pods("in-process, Python shim, API", "in-process", self.daemon.python_shim),
            self._pods("exec, C shim, API", "exec", self._shim()),
            *self.programs(),
        ]

    def few_ways(self) -> list[Way]:
        """Those that are measured for every kind of network, and under load."""
        exec_pods = self._pods("exec, C shim, API", "exec", self._shim())
        variables = self.daemon.variables
        plain = Program("in-process, C shim", (self._shim(),), "in-process", variables=variables)
        return [plain, self.pods, exec_pods]

    def sandboxes(self, peers: Sequence[Program], whereabouts: str | None = None) -> list[Row]:
        """How containerd's pods get their networks; *whereabouts* is the binary of that name."""
        return [
            Row(sandboxes.ONE),
            *(
                Row(f"three networks, {how}", self._shim(), how, self.daemon)
                for how in reversed(_HOWS)
            ),
            *(Row(f"three networks, {each.name}", each.argv[0]) for each in peers),
            self._clustered(sandboxes.CLUSTER_RANGE, ""),
            *([self._clustered(sandboxes.WHEREABOUTS, whereabouts)] if whereabouts else []),
        ]

    def _clustered(self, name: str, whereabouts: str) -> Row:
        shim, daemon = self._shim(), self.daemon
        return Row(name, shim, "in-process", daemon, True, whereabouts)

    def cold(self) -> dict[str, float]:
        """The first ADD that a process carries out."""
        found = {}
        work = Workload(1, os.path.join(self._folder, "cold"))
        with daemon(os.path.join(self._folder, "fresh")) as fresh:
            first = Program("daemon", (self._shim(),), "in-process", variables=fresh.variables)
            found["daemon, just started"] = _once(first, work)
        index = _plugin_index()
        if index:
            os.unlink(index)
        program = Program("standalone", installed_program(), "in-process", variables=ALONE)
        found["standalone, plugins looked for anew"] = _once(program, work)
        return found

    def status(self, turns: int) -> float:
        """The daemon's own mean seconds for a STATUS, as its metrics have them."""
        work = Workload(1, os.path.join(self._folder, "status"))
        keys = {"cniVersion": "1.1.0"}
        way = Program("STATUS", (self._shim(),), "in-process", keys, self.daemon.variables)
        before = self.daemon.spent("STATUS")
        for _ in range(turns):
            way.call("STATUS", work, Container("/none"))
        return (self.daemon.spent("STATUS") - before) / turns

    def api_calls(self) -> dict[str, int]:
        """What one warm ADD of four networks asks of the API server, by method."""
        work = Workload(4, os.path.join(self._folder, "api-calls"))
        pod = Netns.create("bench")
        try:
            container = self.pods.container(work, pod)
            self.cluster.requests()
            self.pods.call("ADD", work, container)
            found: dict[str, int] = {"GET": 0}
            for key, count in self.cluster.requests().items():
                method = key.partition(" ")[0]
                found[method] = found.get(method, 0) + count
            self.pods.call("DEL", work, container)
            self.pods.forget(container)
        finally:
            pod.remove()
        return found

    def _shim(self) -> str:
        return c_shim() or self.daemon.python_shim

    def _pods(self, name: str, how: str, shim: str) -> Pods:
        program = Program(name, (shim,), how, variables=self.daemon.variables)
        return Pods(name, program, self.cluster, self.daemon)


def _once(way: Way, work: Workload) -> float:
    with namespaces(1) as pods:
        return rounds.round_trip(way, work, pods[0])[0]


def _plugin_index() -> str | None:
    import multus

    cache = os.path.join(os.path.dirname(multus.__file__), "__pycache__")
    # Without it no byte code was written, so the index stands nowhere.
    names = os.listdir(cache) if os.path.isdir(cache) else []
    return next((os.path.join(cache, each) for each in names if each.startswith("plugins.")), None)
