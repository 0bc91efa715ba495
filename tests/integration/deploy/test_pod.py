"""The DaemonSet's containers, started as its manifest says, by a real runtime.

They run in a namespace that plays the host's network, on the image's own root file system.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve, frozen
from repository import ROOT
from waiting import PATIENCE, eventually

from multus.testing.apiserver import ApiServer
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Container, Runtime

pytestmark = [pytest.mark.timeout(600), pytest.mark.e2e]


@frozen
class Pod:
    """Starts containers of the DaemonSet; ``folder`` stands for the node's own folders."""

    image: Path
    folder: Path
    host: Node
    #: podman refuses long paths for its own files.
    short: str
    wire: Mapping[str, Any]

    def path(self, name: str) -> str:
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return str(path)

    def container(self, name: str) -> Mapping[str, Any]:
        spec = self.wire["spec"]["template"]["spec"]
        return next(e for e in spec["initContainers"] + spec["containers"] if e["name"] == name)

    def argv(self, name: str, arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
        """The runtime's command line for one of the containers."""
        context = self.container(name)["securityContext"]
        capabilities = context["capabilities"]
        options = [f"--cap-drop={each}" for each in capabilities["drop"]]
        options += [f"--cap-add={each}" for each in capabilities.get("add", ())]
        options += ["--read-only"] if context["readOnlyRootFilesystem"] else []
        limit = self.container(name)["resources"]["limits"]["memory"]
        options.append(f"--memory={limit.removesuffix('i').lower()}")  # podman writes 512m
        options += [f"--env={key}={value}" for key, value in environ.items()]
        for mount in self.container(name).get("volumeMounts", ()):
            if mount["name"] in ("config", "networks", "pod-resources"):
                continue
            flags = ["ro"] if mount.get("readOnly") else ["rw"]
            flags += ["rslave"] if mount.get("mountPropagation") else []
            source, target = self.places()[mount["name"]]
            options.append(f"--volume={source}:{target}:{','.join(flags)}")
        return [
            "podman",
            *("--root", f"{self.short}/store"),
            *("--runroot", f"{self.short}/run"),
            *("--storage-driver", "vfs", "--runtime", "runc"),
            *("--cgroup-manager", "cgroupfs", "--events-backend", "file"),
            *("run", "--rm", "--name", f"{self.host.name}-{name}"),
            *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"),
            *("--network", f"ns:{self.host.path}"),
            *options,
            *("--user", "0"),
            *("--rootfs", str(self.image)),
            *arguments,
        ]

    def places(self) -> dict[str, tuple[str, str]]:
        """Where the node's folders are, and where the containers see them."""
        own = {name: self.path(name) for name in ("net-d", "bin", "state", "socket")}
        shared = {name: (path, path) for name, path in own.items()}
        shared["devices"] = (self.path("devices"), "/run/k8s.cni.cncf.io")
        return {**shared, "host": ("/", "/host"), "netns": ("/run/netns", "/run/netns")}

    def run(
        self, name: str, arguments: Sequence[str], environ: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        argv = self.argv(name, arguments, environ)
        return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def pod(image_root: Path, cni_node: Node, tmp_path: Path) -> Iterator[Pod]:
    if shutil.which("podman") is None or shutil.which("runc") is None:
        pytest.skip("podman and runc are not installed")
    (wire,) = yaml.safe_load_all((ROOT / "deploy/daemonset/daemonset.yaml").read_text())
    with tempfile.TemporaryDirectory(prefix="m-", ignore_cleanup_errors=True) as short:
        yield Pod(image_root, tmp_path, cni_node, short, wire)


@pytest.fixture
def account(pod: Pod) -> Iterator[tuple[str, Mapping[str, str], ApiServer]]:
    """The service account that the kubelet would mount."""
    with ApiServer() as api:
        folder = pod.path("net-d/account")  # in a folder that the container sees
        Path(folder, "token").write_text(api.access.token)
        Path(folder, "ca.crt").write_bytes(api.ca_pem)
        environ = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(api.port),
        }
        yield folder, environ, api


def installed(pod: Pod, account: tuple[str, Mapping[str, str], ApiServer]) -> list[str]:
    """The arguments of the init container, with the folders of this test."""
    folder, _, _ = account
    own = pod.folder / "own.json"
    conf = {
        "cniVersion": "1.0.0",
        "name": "deployed",
        "plugins": [
            {
                "type": "multus",
                "cniDir": f"{pod.path('state')}/multus",
                "binDir": pod.path("bin"),
                "standalone": False,
                "delegates": [
                    {
                        "name": kind,
                        "type": kind,
                        "ipam": {
                            "type": "host-local",
                            "subnet": subnet,
                            "dataDir": f"{pod.path('state')}/networks",
                        },
                    }
                    for kind, subnet in (("ptp", "10.81.0.0/24"), ("bridge", "10.82.0.0/24"))
                ],
            }
        ],
    }
    own.write_text(json.dumps(conf))
    shutil.copy(own, pod.path("net-d/own"))
    arguments = [
        *pod.container("install")["args"][:2],
        "--conf",
        f"{pod.path('net-d/own')}/own.json",
    ]
    arguments += ["--net-d", pod.path("net-d"), "--bin-dir", pod.path("bin")]
    return ["/usr/local/bin/multus", *arguments, "--service-account", folder]


def test_the_containers_install_serve_and_attach_with_the_rights_that_they_have(
    pod: Pod, account: tuple[str, Mapping[str, str], ApiServer], cni_pod: Netns
) -> None:
    BinDir(pod.path("bin")).real("bridge", "host-local")
    done = pod.run("install", installed(pod, account), account[1])
    assert done.returncode == 0, done.stderr
    net_d = Path(pod.path("net-d"))
    assert (net_d / "multus.d" / "token").read_text() == account[2].access.token
    whole = json.loads((net_d / "00-multus.conflist").read_text())

    socket = f"{pod.path('socket')}/multus.sock"
    settings = Path(pod.path("state"), "daemon.json")
    wire = {"chrootDir": "/host", "cniDir": f"{pod.path('state')}/multus"}
    settings.write_text(json.dumps(wire))
    command = pod.container("daemon")["command"]
    serve = f"{command[-1]} --config {settings}"
    environ = {"MULTUS_SOCKET": socket}
    daemon = subprocess.Popen(pod.argv("daemon", [*command[:-1], serve], environ))
    try:
        eventually(lambda: os.path.exists(socket), 2 * PATIENCE)
        runtime = Runtime(
            (f"{pod.path('bin')}/multus",),
            pod.path("bin"),
            pod.host,
            environ={"PATH": "/usr/bin", "MULTUS_SOCKET": socket},
        )
        conf = {**whole["plugins"][0], "name": whole["name"], "cniVersion": whole["cniVersion"]}
        before = pod.host.state(f"{pod.path('state')}/networks")
        container = Container(cni_pod.path)
        result = runtime.add(conf, container).result
        assert cni_pod.addresses("eth0") == [result["ips"][0]["address"]]
        assert cni_pod.addresses("net0")[0].startswith("10.82.0.")
        runtime.delete(conf, container).require()
        assert cni_pod.links() == {}
        left = before.difference(pod.host.state(f"{pod.path('state')}/networks"))
        # The bridge plugin leaves its bridge, by design.
        assert [fact for fact in left if "cni0" not in fact] == []
    finally:
        daemon.terminate()
        daemon.wait(60)
    assert (net_d / "00-multus.conflist").exists()


def files(folder: str) -> dict[str, tuple[int, bytes]]:
    return {
        path.name: (path.stat().st_mode & 0o777, path.read_bytes())
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def test_the_containers_take_the_go_multus_over_and_give_the_node_back(
    pod: Pod, account: tuple[str, Mapping[str, str], ApiServer]
) -> None:
    net_d, program = Path(pod.path("net-d")), "/usr/local/bin/multus"
    lan = {"cniVersion": "0.4.0", "name": "lan", "type": "bridge"}
    (net_d / "10-lan.conf").write_text(json.dumps(lan))
    (net_d / "multus.d").mkdir()
    (net_d / "multus.d" / "multus.kubeconfig").write_text("the old one's")
    keys = {"type": "multus", "namespaceIsolation": True, "delegates": [lan]}
    old = {"cniVersion": "0.4.0", "name": "multus-cni-network", **keys}
    (net_d / "00-multus.conf").write_text(json.dumps(old))
    (net_d / "own").mkdir()
    (net_d / "own" / "multus.json").write_text("{}")
    (Path(pod.path("bin")) / "multus").write_text("the old program")
    before = files(str(net_d)) | files(pod.path("bin"))

    given = {"/etc/cni/multus/multus.json": f"{net_d}/own/multus.json"}
    arguments = [given.get(each, each) for each in pod.container("install")["args"]]
    places = ["--net-d", str(net_d), "--bin-dir", pod.path("bin")]
    install = [program, *arguments, *places, "--service-account", account[0]]
    done = pod.run("install", install, account[1])
    assert done.returncode == 0, done.stderr
    (plugin,) = json.loads((net_d / "00-multus.conflist").read_text())["plugins"]
    assert plugin["namespaceIsolation"] is True
    assert plugin["clusterNetwork"] == f"{net_d}/10-lan.conf"
    assert not (net_d / "00-multus.conf").exists()

    # By hand in a running pod, and then by the pods that do it on every node.
    (wire,) = yaml.safe_load_all((ROOT / "deploy/uninstall/daemonset.yaml").read_text())
    for where, container in ((pod, "refresh"), (evolve(pod, wire=wire), "uninstall")):
        assert pod.run("install", install, account[1]).returncode == 0
        # The daemon's list of other folders with records.
        listed = Path(pod.path("state/multus"), ".folders")
        listed.write_text("")
        back = ["uninstall", *places[:2], "--cni-dir", str(listed.parent)]
        done = where.run(container, [program, *back], {})
        assert done.returncode == 0, done.stderr
        assert not listed.exists()
        assert files(str(net_d)) | files(pod.path("bin")) == before
    done = evolve(pod, wire=wire).run("done", _shortly(wire), {})
    assert done.returncode == 0, done.stderr


def _shortly(wire: Mapping[str, Any]) -> list[str]:
    """What the pod of a node that is done runs, for a moment."""
    (container,) = wire["spec"]["template"]["spec"]["containers"]
    *shell, command = container["command"]
    assert "sleep infinity" in command
    return [*shell, command.replace("sleep infinity", "sleep 0.1")]
