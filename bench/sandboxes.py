"""Pods as the kubelet starts them: RunPodSandbox through containerd's CRI, many at once."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from bench.node import Cluster, Daemon
from bench.pods import settle
from bench.tests import ours
from bench.workload import UPLINK, VERSION, served
from multus.testing.delegates import real_plugin
from multus.testing.netns import Netns

if TYPE_CHECKING:
    from e2e.containerd import ContainerdHost

ONE = "one network, no Multus"
CLUSTER_RANGE = "a network with a range of the cluster, in-process"
WHEREABOUTS = "a network with a range of the cluster, whereabouts' binary"
AT_ONCE = 15

_DELEGATES = ("bridge", "macvlan", "ptp", "portmap", "host-local", "loopback")


@frozen
class Start:
    """Seconds of one RunPodSandbox, and until all ran; both medians.

    ``ratio`` is the first over that of one network without Multus.
    """

    way: str
    at_once: int
    one: float
    until_all: float
    ratio: float


@frozen
class Row:
    """How a pod gets its networks: ``program`` is containerd's CNI plugin, None for no Multus.

    ``how`` is ``exec`` or ``in-process``; a peer has neither.  With ``cluster_range`` a pod has one
    network beside the default, with an address of a range of the whole cluster, which the program
    ``whereabouts`` gives it; "" for the plugin of Multus.
    """

    name: str
    program: str | None = None
    how: str = ""
    daemon: Daemon | None = None
    cluster_range: bool = False
    whereabouts: str = ""


def reason_against() -> str | None:
    """Why this cannot be measured here."""
    programs = [each for each in ("containerd", "ctr", "runc") if shutil.which(each) is None]
    if not os.path.exists("/bin/busybox"):
        programs.append("busybox-static")
    if programs:
        return f"not installed: {', '.join(programs)}"
    try:
        import grpc_tools  # noqa: F401
    except ImportError:
        return "not installed: the extra cri"
    return None


def measure(
    rows: Sequence[Row],
    cluster: Cluster,
    node: Netns,
    rounds: int,
    folder: str,
    at_once: int = AT_ONCE,
) -> list[Start]:
    """*at_once* pods by every row in turn, round after round; the first row counts as 1.

    Raises ``RuntimeError`` when a pod has not the networks that its row names.
    """
    ones: dict[str, list[float]] = {each.name: [] for each in rows}
    totals: dict[str, list[float]] = {each.name: [] for each in rows}
    with ExitStack() as stack:
        sites = [
            stack.enter_context(_site(row, cluster, node, Path(folder, f"cri{place}")))
            for place, row in enumerate(rows)
        ]
        for turn in range(rounds + 1):
            for site in sites:
                of_each, of_all = site.start_pods(turn, at_once)
                # The first round only warms caches up; one in which a pod failed is no figure.
                if turn and len(of_each) == at_once:
                    ones[site.row.name] += of_each
                    totals[site.row.name].append(of_all)
    medians = {name: statistics.median(each) for name, each in ones.items() if each}
    return [
        Start(name, at_once, one, statistics.median(totals[name]), one / medians[rows[0].name])
        for name, one in medians.items()
    ]


@frozen
class _Site:
    """A containerd with the networks of one row."""

    row: Row
    label: str
    host: ContainerdHost
    cluster: Cluster
    networks: Mapping[str, Mapping[str, Any]]

    def start_pods(self, turn: int, at_once: int) -> tuple[list[float], float]:
        """Seconds of each call that succeeded and of all; the pods are gone afterwards."""
        pods = self._pods(turn, at_once)
        with ThreadPoolExecutor(at_once) as threads:
            begin = time.perf_counter()
            done = list(threads.map(lambda pod: self._run(*pod), pods))
            took = time.perf_counter() - begin
            self._require_networks([sandbox for sandbox, _ in done if sandbox][:1])
            list(threads.map(self._remove, self.host.cri.sandboxes()))
        if self.row.program:
            for name, _ in pods:
                self.cluster.delete(f"/api/v1/namespaces/default/pods/{name}")
        if self.row.daemon:
            self.row.daemon.wait_written()
        settle()
        return [seconds for sandbox, seconds in done if sandbox], took

    def _require_networks(self, sandboxes: Sequence[str]) -> None:
        for sandbox in sandboxes:
            found = self.host.links(sandbox)
            wanted = 1 + (len(self.networks) if self.row.program else 0)
            if len(found) != wanted:
                raise RuntimeError(f"{self.row.name}: a pod has {', '.join(found)}")

    def _pods(self, turn: int, at_once: int) -> list[tuple[str, str]]:
        """Name and UID of each pod; the API server knows those of Multus."""
        names = [f"{self.label}-{turn}-{number}" for number in range(at_once)]
        if not self.row.program:
            return [(name, name) for name in names]
        for name, config in self.networks.items():
            self.cluster.definition(name, config)
        pods = [(name, self.cluster.pod(name, list(self.networks))) for name in names]
        if self.row.daemon:
            self.row.daemon.wait_known(at_once)
        return pods

    def _run(self, name: str, uid: str) -> tuple[str, float]:
        """The sandbox, and the seconds until it ran; "" for one that failed, which is said."""
        import grpc

        begin = time.perf_counter()
        try:
            sandbox = self.host.cri.run(name, uid=uid, log=self.host.folder / "log")
        except grpc.RpcError as error:
            print(f"bench: {self.row.name}: {error.details()}", file=sys.stderr)
            sandbox = ""
        return sandbox, time.perf_counter() - begin

    def _remove(self, sandbox: str) -> None:
        self.host.cri.stop(sandbox)
        self.host.cri.remove(sandbox)


@contextmanager
def _site(row: Row, cluster: Cluster, node: Netns, folder: Path) -> Iterator[_Site]:
    folder.mkdir()
    layout = folder / "image.tar"
    ours("e2e.image").write(layout, os.uname().machine)
    plugins = {name: path for name in _DELEGATES if (path := real_plugin(name))}
    if row.program:
        plugins["multus"] = row.program
    if row.whereabouts:
        plugins["whereabouts"] = row.whereabouts
    environ = row.daemon.variables if row.daemon else {}
    started = ours("e2e.containerd").ContainerdHost.started
    with started(folder / "run", node, plugins, layout, environ) as host:
        site = _Site(row, folder.name, host, cluster, _networks(row, cluster, folder))
        host.network(_conf(row, cluster, folder) if row.program else _default(folder))
        host.wait_until_network_is(True)
        yield site


# --- The node's configuration -------------------------------------------------------------------


def _default(folder: Path) -> dict[str, Any]:
    """The node's default network, as containerd's own documentation has it."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "ipam": {**_ipam(folder, 80), "routes": [{"dst": "0.0.0.0/0"}]},
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": VERSION, "name": "pods", "plugins": [bridge, portmap]}


def _networks(row: Row, cluster: Cluster, folder: Path) -> dict[str, dict[str, Any]]:
    """The definitions that pods of Multus ask for, beside the default network."""
    lan = {"type": "bridge", "bridge": "lan0", "ipam": _ipam(folder, 81)}
    storage = {"type": "macvlan", "master": UPLINK, "ipam": _ipam(folder, 82)}
    shared = {"type": "macvlan", "master": UPLINK, "ipam": _of_cluster(row, cluster, folder)}
    chosen = {"shared": shared} if row.cluster_range else {"lan": lan, "storage": storage}
    return {
        f"{name}-{folder.name}": {"cniVersion": VERSION, "name": name, **config}
        for name, config in chosen.items()
    }


def _ipam(folder: Path, number: int) -> dict[str, Any]:
    return {"type": "host-local", "subnet": f"10.{number}.0.0/16", "dataDir": f"{folder}/ipam"}


def _of_cluster(row: Row, cluster: Cluster, folder: Path) -> dict[str, Any]:
    """Addresses of a range of the cluster, in a pool that no other row has."""
    keys = {"type": "whereabouts", "range": "10.83.0.0/16", "network_name": folder.name}
    if not row.whereabouts:
        return keys
    # The binary refuses to start without a file of its own.
    own = folder / "whereabouts.conf"
    own.write_text(json.dumps({"kubernetes": {"kubeconfig": cluster.kubeconfig}}))
    return {**keys, "configuration_path": str(own)}


def _conf(row: Row, cluster: Cluster, folder: Path) -> dict[str, Any]:
    types = ("bridge", "macvlan", "portmap")
    chosen = {each: each if row.how == "in-process" and served(each) else "exec" for each in types}
    keys = {
        "invokers": chosen,
        "tenantPaths": {"dataDir": [f"{folder}/ipam"]},
        "blockedPlugins": ["multus-ipam-whereabouts"] if row.whereabouts else [],
    }
    return {
        "cniVersion": VERSION,
        "name": "bench",
        "type": "multus",
        "kubeconfig": cluster.kubeconfig,
        "cniDir": f"{folder}/multus",
        "binDir": f"{folder}/run/bin_dir",
        "capabilities": {"portMappings": True},
        "delegates": [_default(folder)],
        **(keys if row.how else {}),
    }
