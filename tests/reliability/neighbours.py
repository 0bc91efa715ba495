"""A node with a running daemon, twenty pods that come and go, and one hostile pod."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from attrs import Factory, define, evolve, field, frozen
from reliability import hostile
from reliability.cgroup import Cgroup, memory_limited
from reliability.manager import Manager
from reliability.processes import Uses

from integration.daemon.node import Daemon
from multus.cni import shim
from multus.netlink import Namespace, links
from multus.testing.apiserver import ApiServer
from multus.testing.delegates import BinDir
from multus.testing.netns import HostState, Netns, Node
from multus.testing.runtime import Answer, Container, Runtime

NEIGHBOURS = 20
AT_A_TIME = 4
NETWORKS = "k8s.v1.cni.cncf.io/networks"
NODE_NAME = "n1"

#: The runtime's timeout for a call in these tests, in seconds.
PATIENCE = 30.0

#: Seconds that an in-process step may go without progress before its worker is replaced. On a busy
#: machine the kernel alone may need more than one.
STUCK = 4

#: The daemon's settings for these tests, without its folders.
SETTINGS: Mapping[str, Any] = {
    "workers": 32,
    "connectionLimit": 256,
    "stuckSeconds": STUCK,
    "workerMemory": 64,
    "logLevel": "verbose",
}

#: Settings to leave out, separated by commas, for a daemon that does not have them.
_LEFT_OUT = os.environ.get("ISOLATION_WITHOUT", "").split(",")

_SHIM = Path(__file__).parents[2] / "shim" / "multus-shim.c"


def settings(cni_dir: str, kubeconfig: str) -> dict[str, Any]:
    """The settings without the ones to leave out; a daemon refuses unknown keys."""
    known = {key: value for key, value in SETTINGS.items() if key not in _LEFT_OUT}
    return {**known, "cniDir": cni_dir, "kubeconfig": kubeconfig, "nodeName": NODE_NAME}


@frozen
class Round:
    """The results of twenty neighbours: failures, and the seconds of the slowest call."""

    problems: Sequence[str]
    slowest: float


@define
class Place:
    """The node; *folder* holds its state."""

    folder: Path
    node: Node
    api: ApiServer
    kubeconfig: str
    bin: BinDir
    runtime: Runtime
    cgroup: Cgroup
    pods: Sequence[Netns]
    manager: Manager = field(init=False)
    empty: HostState = field(init=False)
    usual: float = 0.0
    _pool: ThreadPoolExecutor = Factory(lambda: ThreadPoolExecutor(AT_A_TIME))

    # --- The daemon ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a new daemon, and measure how long calls usually take."""
        self.launch()
        self.round()  # the first calls create what later ones reuse
        self.empty = self.state()
        usual = [self.round(), self.round()]
        assert [problem for each in usual for problem in each.problems] == []
        self.usual = max(each.slowest for each in usual)

    def launch(self) -> None:
        """Start a new daemon, and wait until it serves."""
        keys = settings(self.cni_dir, self.kubeconfig)
        folder = self.folder / f"daemon-{secrets.token_hex(3)}"
        daemon = Daemon(folder, self.node, keys)
        environ = {**daemon.environ(), "MULTUS_WAIT": "8"}
        self.runtime = evolve(self.runtime, environ=environ, timeout=PATIENCE)
        self.manager = Manager(daemon, self.cgroup, self.folder / "site")
        self.manager.start()
        assert self.manager.serves(60), f"the daemon does not serve: {daemon.stderr}"

    def stop(self) -> None:
        self.manager.stop()

    def start_anew(self) -> None:
        """Remove the daemon, its state and its attachments, and start another one."""
        self.stop()
        for folder in (self.cni_dir, self.ipam_dir):
            shutil.rmtree(folder, ignore_errors=True)
        for pod in self.pods:
            for name in interfaces(pod.path):
                pod.ip("link", "del", name)
        end = time.monotonic() + PATIENCE
        # The kernel removes the links of a deleted namespace later.
        while left := interfaces(self.node.path) - {"uplink", "wire"}:
            assert time.monotonic() < end, f"{sorted(left)} are left on the node"
            time.sleep(0.05)
        self.start()

    def uses(self) -> Uses:
        return Uses.of(self.manager.daemon.pid)

    # --- Calls -----------------------------------------------------------------------------------

    @property
    def cni_dir(self) -> str:
        return str(self.folder / "multus")

    @property
    def ipam_dir(self) -> str:
        return str(self.folder / "ipam")

    def conf(self, *delegates: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
        """The node's configuration: every pod gets ``front``, and *delegates*."""
        return {
            "cniVersion": "1.0.0",
            "name": "node",
            "type": "multus",
            "binDir": self.bin.path,
            "cniDir": self.cni_dir,
            "kubeconfig": self.kubeconfig,
            "tenantPaths": {"dataDir": [self.ipam_dir]},
            "delegates": [self.ptp("front", 66), *delegates],
            **keys,
        }

    def ptp(self, name: str, number: int) -> dict[str, Any]:
        ipam = {"type": "host-local", "subnet": f"10.{number}.0.0/16", "dataDir": self.ipam_dir}
        return {"cniVersion": "1.0.0", "type": "ptp", "name": name, "ipam": ipam}

    def container(self, netns: Netns, pod: str) -> Container:
        args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}"
        return Container(netns.path, args=args)

    def call(
        self, command: str, conf: Mapping[str, Any], container: Container, seconds: float = PATIENCE
    ) -> Answer:
        """One call through the shim; ``AssertionError`` when there is no answer in *seconds*."""
        try:
            runtime = evolve(self.runtime, timeout=seconds)
            return runtime.call(command, conf, container.environ())
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{command} has no answer after {seconds} s") from None

    # --- The neighbours --------------------------------------------------------------------------

    def round(self) -> Round:
        """ADD, CHECK and DEL of all neighbours."""
        conf = self.conf()
        there = [self.container(pod, f"neighbour-{i}") for i, pod in enumerate(self.pods)]
        problems, slowest = [], 0.0
        for command in ("ADD", "DEL"):
            wanted = {"eth0", "net1"} if command == "ADD" else set()
            calls = [self._pool.submit(self.call, command, conf, each) for each in there]
            for container, call in zip(there, calls, strict=True):
                try:
                    answer = call.result()
                except AssertionError as error:
                    problems.append(str(error))
                    continue
                slowest = max(slowest, answer.seconds)
                if answer.status:
                    problems.append(f"{command}: {answer.stdout.decode(errors='replace')}")
                elif (found := interfaces(container.netns)) != wanted:
                    problems.append(f"{command} succeeded, and there are {sorted(found)}")
        return Round(problems, slowest)

    # --- The node's state ------------------------------------------------------------------------

    def state(self) -> HostState:
        """Links, addresses, routes, rules, and the files of records and addresses."""
        return self.node.state(self.cni_dir, self.ipam_dir)

    def left(self, netns: Netns, seconds: float = PATIENCE) -> list[str]:
        """What is left that an empty node does not have, after at most *seconds*."""
        end = time.monotonic() + seconds
        while True:
            found = [f"+ {name} in the pod" for name in interfaces(netns.path)]
            left = self.empty.difference(self.state())
            # The daemon keeps its list of other folders with kept DELs.
            found += [each for each in left if not each.endswith("/.folders")]
            if not found or time.monotonic() > end:
                return found
            time.sleep(0.1)

    def held_by(self, container: Container, *folders: Path) -> list[str]:
        """The addresses that a container holds here and in *folders*."""
        every = (path for each in (Path(self.ipam_dir), *folders) for path in each.rglob("*"))
        return [str(path) for path in every if path.is_file() and container.id in path.read_text()]


def interfaces(netns: str) -> set[str]:
    with Namespace(netns) as namespace, namespace.channel() as channel:
        return {link.name for link in links.list_all(channel)} - {"lo"}


@contextmanager
def place(folder: Path) -> Iterator[Place]:
    """Make a node with an API server, a daemon and neighbours; remove all of it afterwards."""
    with ExitStack() as stack:
        node = Node.create()
        stack.callback(node.remove)
        cgroup = stack.enter_context(memory_limited())
        api = stack.enter_context(ApiServer(netns=node.path))
        bins = BinDir(str(folder / "bin")).real()
        runtime = Runtime((_shim(folder),), bins.path)
        hostile.install(folder / "site")
        kubeconfig = api.write_kubeconfig(folder, "token-file")
        pods = []
        for number in range(NEIGHBOURS):
            pods.append(Netns.create("pod"))
            stack.callback(pods[-1].remove)
            api.create_pod(f"neighbour-{number}", {NETWORKS: "side"}, node=NODE_NAME)
        made = Place(folder, node, api, kubeconfig, bins, runtime, cgroup, pods)
        define_network(api, "side", made.ptp("side", 67))
        made.start()
        # Not a bound method: a case may have replaced the daemon.
        stack.callback(lambda: made.stop())
        yield made


def define_network(api: ApiServer, name: str, config: object) -> None:
    """Store a definition; *config* is its text, or a value to encode as JSON."""
    text = config if isinstance(config, str) else json.dumps(config)
    api.create(
        {
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"config": text},
        }
    )


def _shim(folder: Path) -> str:
    """The C shim, or the Python shim without a compiler."""
    program = folder / "multus-shim"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler:
        subprocess.run([compiler, "-O1", "-o", str(program), str(_SHIM)], check=True)
    else:
        program.write_text(shim.launcher())
        program.chmod(0o755)
    return str(program)
