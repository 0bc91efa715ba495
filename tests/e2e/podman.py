"""podman on a node of its own: its CNI backend is a client of the program."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from attrs import frozen

from e2e.image import NAME
from multus.testing.command import output
from multus.testing.netns import Netns

PROGRAMS = ("podman", "runc")

_CONF = """\
[network]
network_backend = "{backend}"
cni_plugin_dirs = {plugin_dirs}
network_config_dir = {conf_dir}
default_network = "unused"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""

#: Without limits of its own podman tries to raise the machine's, which a container may not.
_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")


@cache
def backend() -> str:
    """``cni``, or ``netavark`` where podman is built without CNI, as podman 5 usually is."""
    with tempfile.TemporaryDirectory(prefix="pm-") as folder:
        conf = Path(folder, "containers.conf")
        conf.write_text('[network]\nnetwork_backend = "cni"\n')
        stores = ("--root", f"{folder}/root", "--runroot", f"{folder}/run")
        done = subprocess.run(
            ["podman", *stores, "--storage-driver", "vfs", "info"],
            env={**os.environ, "CONTAINERS_CONF": str(conf)},
            capture_output=True,
            text=True,
            check=False,
        )
    return "netavark" if "cni support is not enabled" in done.stderr else "cni"


@frozen
class PodmanHost:
    """podman with images, containers and networks of its own under *folder*."""

    folder: Path
    node: Netns
    plugin_dirs: tuple[str, ...]

    @classmethod
    @contextmanager
    def started(
        cls,
        node: Netns,
        plugin_dirs: Sequence[str],
        image: Path,
    ) -> Iterator[PodmanHost]:
        """Set it up with the image loaded; at the end every container is removed."""
        # podman refuses a run root whose path is longer than 50 characters.
        with tempfile.TemporaryDirectory(prefix="pm-") as folder:
            host = cls(Path(folder), node, tuple(plugin_dirs))
            os.makedirs(host.conf_dir)
            folders = {"plugin_dirs": plugin_dirs, "conf_dir": host.conf_dir}
            quoted = {key: json.dumps(value) for key, value in folders.items()}
            conf = _CONF.format(backend=backend(), **quoted)
            Path(host.containers_conf).write_text(conf)
            host.podman("load", "--input", str(image))
            try:
                yield host
            finally:
                host.podman("rm", "--all", "--force", "--time", "0")

    @property
    def conf_dir(self) -> str:
        return str(self.folder / "net.d")

    @property
    def containers_conf(self) -> str:
        return str(self.folder / "containers.conf")

    def network(self, name: str, conf: Mapping[str, Any]) -> None:
        """Write a network's configuration: a conflist whose one plugin is *conf*."""
        plugin = {key: value for key, value in conf.items() if key not in ("name", "cniVersion")}
        conflist = {"cniVersion": conf["cniVersion"], "name": name, "plugins": [plugin]}
        Path(self.conf_dir, f"{name}.conflist").write_text(json.dumps(conflist))

    def run(self, network: str, *command: str) -> str:
        """What *command* prints in a container of its own, which is removed afterwards."""
        return self.podman("run", "--rm", "--network", network, *_LIMITS, NAME, *command)

    def start(self, network: str, name: str) -> None:
        """Start a container that sleeps."""
        self.podman("run", "--detach", "--name", name, "--network", network, *_LIMITS, NAME)

    def inside(self, name: str, *command: str) -> str:
        """What *command* prints in a container that runs."""
        return self.podman("exec", name, *command)

    def remove(self, name: str) -> None:
        """Stop and remove a container."""
        self.podman("rm", "--force", "--time", "0", name)

    def podman(self, *args: str) -> str:
        """The standard output of podman; raises ``CommandFailed``."""
        return output(self.command(*args), self.environment, timeout=120)

    def command(self, *args: str) -> list[str]:
        """podman's argument vector on this node."""
        stores = ("--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run")
        return self.node.command(["podman", *stores, "--storage-driver", "vfs", *args])

    @property
    def environment(self) -> dict[str, str]:
        """podman's environment."""
        return {**os.environ, "CONTAINERS_CONF": self.containers_conf}
