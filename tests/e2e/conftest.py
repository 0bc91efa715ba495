"""Real runtimes run the program: skipped, with a word, where the machine has none or forbids it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e import containerd, image, podman
from e2e.containerd import ContainerdHost
from e2e.podman import PodmanHost
from integration.daemon.node import Daemon
from multus.cli import engines
from multus.cni import shim
from multus.testing.apiserver import ApiServer
from multus.testing.command import output
from multus.testing.delegates import real_plugin
from multus.testing.netns import Node

DELEGATES = ("bridge", "ptp", "macvlan", "host-local", "static", "portmap", "loopback")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


def require(*programs: str) -> None:
    """Skip unless this is root with these programs."""
    missing = [each for each in programs if shutil.which(each) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if not os.path.exists(image.BUSYBOX):
        pytest.skip("not installed: busybox-static")
    if os.geteuid() != 0 or not _may_mount():
        pytest.skip("a container runtime needs root on the machine itself")


def _may_mount() -> bool:
    # In a user namespace "root" cannot set up cgroups: the map names more than one range then.
    return Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


@pytest.fixture(scope="session")
def image_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "busybox.tar"
    image.write(path, platform.machine())
    return path


@pytest.fixture(params=["standalone", "warm engine", "daemon"])
def program(
    request: pytest.FixtureRequest, cni_program: tuple[str, ...], cni_node: Node, tmp_path: Path
) -> Iterator[str]:
    """What the runtime starts: a program, or the shim with the daemon behind it."""
    if request.param == "standalone":
        yield _script(tmp_path, f"MULTUS_STANDALONE=1 exec {cni_program[0]}")
        return
    if request.param == "warm engine":
        run = tmp_path / "run"
        yield _script(tmp_path, f"MULTUS_SOCKET={run}/multus.sock exec {cni_program[0]}")
        list(engines.end(str(run)))
        return
    settings = {"cniDir": str(tmp_path / "multus"), "nodeName": "n1"}
    if "cni_api" in request.fixturenames:
        settings["kubeconfig"] = request.getfixturevalue("kubeconfig")
        settings["podChanges"] = "follow"
    daemon = Daemon(tmp_path / "daemon", cni_node, settings).start()
    yield _script(tmp_path, f"MULTUS_SOCKET={daemon.socket} exec {_shim(tmp_path)}")
    daemon.stop()


def _script(folder: Path, line: str) -> str:
    """A program that sets a variable: podman's clean-up process has an environment of its own."""
    script = folder / "multus-with-variable"
    script.write_text(f"#!/bin/sh\n{line}\n")
    script.chmod(0o755)
    return str(script)


def _shim(folder: Path) -> str:
    """The C shim where a compiler is, else the Python one."""
    path = folder / "multus-shim"
    compiler = shutil.which("cc")
    if compiler:
        source = Path(__file__).parents[2] / "shim" / "multus-shim.c"
        output([compiler, "-O2", "-o", str(path), str(source)])
    else:
        path.write_text(shim.launcher())
        path.chmod(0o755)
    return str(path)


@pytest.fixture
def kubeconfig(cni_api: ApiServer, tmp_path: Path) -> str:
    """Access to the API server for the node's program."""
    return cni_api.write_kubeconfig(tmp_path)


@pytest.fixture
def plugins(program: str) -> dict[str, str]:
    """The program and the delegates, as a runtime's folder of plugins would hold them."""
    found = {name: real_plugin(name) for name in DELEGATES}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        pytest.skip(f"no CNI plugin {', '.join(missing)}: install containernetworking-plugins")
    return {"multus": program, **{name: path for name, path in found.items() if path}}


@pytest.fixture
def conf(cni_node: Node, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Makes Multus' configuration for three networks, with everything kept in a folder."""
    cni_node.bridge("e2e0", "10.91.0.1/24")

    def ipam(number: int) -> dict[str, Any]:
        subnet = f"10.{number}.0.0/24"
        return {"type": "host-local", "subnet": subnet, "dataDir": str(tmp_path / "ipam")}

    def make(**keys: Any) -> dict[str, Any]:
        delegates = [
            {"type": "ptp", "name": "control", "ipam": ipam(92)},
            {
                "type": "macvlan",
                "name": "storage",
                "master": "uplink",
                "ipam": {"type": "static", "addresses": [{"address": "10.93.0.7/24"}]},
            },
            {
                "type": "bridge",
                "name": "pods",
                "bridge": "e2e0",
                "isGateway": True,
                "masterplugin": True,
                "ipam": ipam(91),
            },
        ]
        return {
            "cniVersion": "1.0.0",
            "name": "e2e",
            "type": "multus",
            "cniDir": str(tmp_path / "multus"),
            "binDir": str(tmp_path / "no-folder"),
            "delegates": delegates,
            **keys,
        }

    return make


@pytest.fixture
def podman_host(
    cni_node: Node, plugins: dict[str, str], image_file: Path, tmp_path: Path
) -> Iterator[PodmanHost]:
    """podman on a node, with the program and the delegates as its CNI plugins."""
    require(*podman.PROGRAMS)
    if podman.backend() != "cni":
        pytest.skip("podman is built without its CNI backend, as podman 5 is")
    plugin_dir = tmp_path / "plugins"
    plugin_dir.mkdir()
    for name, path in plugins.items():
        (plugin_dir / name).symlink_to(path)
    with PodmanHost.started(cni_node, [str(plugin_dir)], image_file) as host:
        yield host


@pytest.fixture
def plain_podman(cni_node: Node, image_file: Path, tmp_path: Path) -> Iterator[PodmanHost]:
    """podman of any version on a node, in whose folder of plugins are none."""
    require(*podman.PROGRAMS)
    with PodmanHost.started(cni_node, [str(tmp_path)], image_file) as host:
        yield host


@pytest.fixture
def containerd_host(
    cni_node: Node, plugins: dict[str, str], image_file: Path, tmp_path: Path
) -> Iterator[ContainerdHost]:
    """containerd on a node."""
    require(*containerd.PROGRAMS)
    pytest.importorskip("grpc_tools", reason="not installed: the extra e2e")
    folder = tmp_path / "containerd"
    with ContainerdHost.started(folder, cni_node, plugins, image_file) as host:
        yield host
