"""The DaemonSet's containers, from the image that ``./dev image`` builds, as the manifest says."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import pytest
from attrs import frozen
from built import TAG, built_image
from repository import ROOT
from waiting import eventually

from e2e import containerd, places
from e2e.conftest import require
from e2e.containerd import ContainerdHost
from e2e.daemonset import DaemonSetPod, Node, host_paths, template, wait_for_network
from e2e.places import Places
from multus.testing.apiserver import ApiServer
from multus.testing.delegates import real_plugin
from multus.testing.netns import HostState
from multus.testing.netns import Node as Host

__all__ = ["built_image"]

T = TypeVar("T")

pytestmark = pytest.mark.timeout(600)

DELEGATES = ("bridge", "host-local", "loopback")
NETWORKS = "k8s.v1.cni.cncf.io/networks"
STATUS = "k8s.v1.cni.cncf.io/network-status"
#: Not kept over a boot.
RUN = "/run/"
#: What stays in /var/lib/cni: past requests, locks, and the last address that was given away.
KEPT = {"multus.trace", ".lock", "lock", "last_reserved_ip.0", ".iptables"}

NEWER = "localhost/multus:newer"
AT_ONCE = 3


@frozen
class Cluster:
    """A cluster of one node, whose network is a bridge; a pod may ask for two more."""

    host: ContainerdHost
    api: ApiServer
    node: Node
    netns: Host

    def pod(self, tag: str = TAG) -> DaemonSetPod:
        return DaemonSetPod(self.host, self.node, tag)

    def state(self) -> HostState:
        """Everything that could be left on the node."""
        assert self.host.places is not None
        folder = self.host.places.sources["/var/lib/cni"]
        return self.netns.state(f"{folder}/networks", f"{folder}/multus")


@pytest.fixture
def cluster(
    built_image: Path, cni_node: Host, cni_api: ApiServer, image_file: Path, tmp_path: Path
) -> Iterator[Cluster]:
    require(*containerd.PROGRAMS)
    pytest.importorskip("grpc_tools", reason="not installed: the extra e2e")
    if reason := places.missing():
        pytest.skip(reason)
    found = {name: real_plugin(name) for name in DELEGATES}
    if not all(found.values()):
        pytest.skip("no CNI plugins: install containernetworking-plugins")
    cni_node.bridge("pods0", "10.91.0.1/16")
    folder = tmp_path / "containerd"
    own = Places.of(tmp_path, "/etc/cni", *host_paths(template()))
    binaries = {name: path for name, path in found.items() if path}
    with ContainerdHost.started(folder, cni_node, binaries, image_file, places=own) as host:
        host.load(built_image)
        host.network(network("pods", "bridge", "10.91.0.0/16", bridge="pods0"), "10-pods")
        for name, kind, subnet, keys in (
            ("control", "ptp", "10.92.0.0/16", {}),
            ("storage", "macvlan", "10.93.0.0/16", {"master": "uplink"}),
        ):
            define(cni_api, network(name, kind, subnet, **keys))
        yield Cluster(host, cni_api, kubelet(cni_api, tmp_path), cni_node)


def network(name: str, kind: str, subnet: str, **keys: str) -> dict[str, Any]:
    ipam = {"type": "host-local", "subnet": subnet}
    return {"cniVersion": "1.0.0", "name": name, "type": kind, **keys, "ipam": ipam}


def define(api: ApiServer, config: dict[str, Any]) -> None:
    api.create(
        {
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": config["name"], "namespace": "default"},
            "spec": {"config": json.dumps(config)},
        }
    )


def kubelet(api: ApiServer, folder: Path) -> Node:
    """The kubelet's part: files of the ConfigMap and of the service account."""
    config, account = folder / "config", folder / "account"
    shutil.copytree(ROOT / "deploy/daemonset", config)
    account.mkdir()
    (account / "token").write_text(api.access.token)
    (account / "ca.crt").write_bytes(api.ca_pem)
    (account / "namespace").write_text("kube-system")
    return Node("n1", config, account, api.port)


def test_pods_get_their_networks_and_uninstalling_leaves_nothing(cluster: Cluster) -> None:
    host, api = cluster.host, cluster.api
    assert host.places is not None
    files = host.places.files(RUN)
    deployed = cluster.pod()
    deployed.start()
    try:
        wait_for_network(host, ["multus-cni-network"])
        assert deployed.probe("daemon", "readinessProbe")
        before = cluster.state()
        pod = api.create_pod("web", {NETWORKS: "control,storage@disk"})
        with host.sandbox("web", uid=pod["metadata"]["uid"]) as sandbox:
            links = host.links(sandbox)
            addresses = {name: link["addr_info"][0]["local"] for name, link in links.items()}
            assert set(addresses) == {"eth0", "net1", "disk"}
            for name, start in (("eth0", "10.91."), ("net1", "10.92."), ("disk", "10.93.")):
                assert addresses[name].startswith(start)
            status = json.loads(api.get(pod)["metadata"]["annotations"][STATUS])
            assert [each["ips"] for each in status] == [[each] for each in addresses.values()]
        assert before.difference(cluster.state()) == []
        deployed.execute("refresh", "multus", "uninstall")
    finally:
        deployed.stop()
    left = {name: data for name, data in host.places.files(RUN).items() if files.get(name) != data}
    assert {Path(name).name for name in left} <= KEPT, left
    assert {name for name in left if not name.startswith("/var/lib/cni/")} == set()


def test_pods_start_and_stop_while_the_daemonset_is_updated_and_rolled_back(
    cluster: Cluster,
) -> None:
    """As a rolling update: the old pod ends within its grace period, then the new one starts."""
    host = cluster.host
    host.ctr("--namespace", "k8s.io", "images", "tag", TAG, NEWER)
    deployed = cluster.pod()
    try:
        serve(deployed)
        wait_for_network(host, ["multus-cni-network"])
        before = cluster.state()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            done = Event()
            users = [pool.submit(pods, cluster, f"web{n}", done) for n in range(AT_ONCE)]
            try:
                for tag in (NEWER, TAG):
                    deployed.stop()
                    deployed = cluster.pod(tag)
                    serve(deployed)
                    done.wait(1)  # some pods live wholly with this one
            finally:
                done.set()
            times = [seconds for user in users for seconds in user.result()]
        assert len(times) > AT_ONCE
        assert before.difference(cluster.state()) == []
        print(f"{len(times)} pods, the slowest started in {max(times):.1f} s")
    finally:
        deployed.stop()


def test_a_binary_that_would_take_all_memory_fails_alone(cluster: Cluster) -> None:
    """The kubelet sets memory.oom.group: its container would be killed as a whole."""
    import grpc

    host = cluster.host
    binary = host.folder / "bin_dir" / "hungry"
    binary.write_text(f"#!{sys.executable}\n{HUNGRY}")
    binary.chmod(0o755)
    define(cluster.api, network("feast", "hungry", "10.94.0.0/16"))
    deployed = cluster.pod()
    try:
        serve(deployed)
        wait_for_network(host, ["multus-cni-network"])
        for name, networks in (("greedy", "feast"), ("web", "control")):
            pod = cluster.api.create_pod(name, {NETWORKS: networks})
            expected = pytest.raises(grpc.RpcError, match="too little memory")
            with expected if networks == "feast" else nullcontext():
                with host.sandbox(name, uid=pod["metadata"]["uid"]) as sandbox:
                    assert set(host.links(sandbox)) == {"eth0", "net1"}
        assert deployed.probe("daemon", "livenessProbe")
    finally:
        deployed.stop()


#: Takes more than half of the container's memory, and less than all of it.
HUNGRY = """\
import os
held = []
try:
    for _ in range(300 if os.environ["CNI_COMMAND"] == "ADD" else 0):
        held.append(b"x" * (1 << 20))
except MemoryError:
    held.clear()
    print('{"cniVersion": "1.0.0", "code": 120, "msg": "too little memory"}')
    raise SystemExit(1)
"""


def serve(deployed: DaemonSetPod) -> None:
    """Start the pod, and wait until each of its containers does its work."""
    deployed.start()
    eventually(lambda: deployed.log("refresh"))


def pods(cluster: Cluster, name: str, done: Event) -> list[float]:
    """Start and stop one pod after another until *done*; returns how long each start took."""
    times = []
    for number in count():
        if number and done.is_set():
            break
        pod = cluster.api.create_pod(f"{name}-{number}", {NETWORKS: "control,storage"})
        start = time.monotonic()
        host, uid = cluster.host, pod["metadata"]["uid"]
        run = partial(host.cri.run, f"{name}-{number}", uid=uid, log=host.folder / "log")
        sandbox = repeated(run)
        times.append(time.monotonic() - start)
        assert set(host.links(sandbox)) == {"eth0", "net1", "net2"}
        repeated(partial(host.cri.stop, sandbox))
        repeated(partial(host.cri.remove, sandbox))
    return times


def repeated(call: Callable[[], T]) -> T:
    """Repeat a call that fails, as the kubelet does: no daemon may answer for a while."""
    import grpc

    for _ in range(5):
        try:
            return call()
        except grpc.RpcError as error:
            print(f"repeated: {error}")
            time.sleep(1)
    return call()
