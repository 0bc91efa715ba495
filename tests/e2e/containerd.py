"""containerd as a client of the program: its CRI socket, as for the kubelet, and ``ctr --cni``."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import define

from e2e.cri import CGROUP, CRI
from e2e.image import NAME
from e2e.places import Places
from multus.testing.command import CommandFailed, output
from multus.testing.netns import Netns

PROGRAMS = ("containerd", "ctr", "runc")

_CONF = """\
version = 2
root = {root}
state = {state}
[grpc]
  address = {socket}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {image}
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = {snapshotter}
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = {bin_dir}
  conf_dir = {conf_dir}
"""

#: Where ``ctr`` looks, with no way to say otherwise.
_FIXED = ("/etc/cni/net.d", "/opt/cni/bin")


@define
class ContainerdHost:
    """containerd with everything of its own under *folder*, running on *node*."""

    folder: Path
    node: Netns
    cri: CRI
    environ: Mapping[str, str]
    places: Places | None = None
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def started(
        cls,
        folder: Path,
        node: Netns,
        plugins: Mapping[str, str],
        image: Path,
        environ: Mapping[str, str] | None = None,
        places: Places | None = None,
    ) -> Iterator[ContainerdHost]:
        """Start it with the image loaded; *plugins* maps a CNI plugin's name to its program.

        *environ* is for containerd, and so for the CNI plugins, beside this process' own.  With
        *places*, what it runs sees those folders of a node, and its own are among them.
        """
        conf = {key: str(folder / key) for key in ("root", "state", "bin_dir", "conf_dir")}
        for path in conf.values():
            os.makedirs(path)
        for name, target in plugins.items():
            os.symlink(target, folder / "bin_dir" / name)
        values = {**conf, "socket": str(folder / "socket"), "image": NAME, "snapshotter": "native"}
        if places is not None:
            conf_dir, bin_dir = _FIXED
            values |= {"conf_dir": conf_dir, "bin_dir": bin_dir, "snapshotter": "overlayfs"}
            places.add({conf_dir: folder / "conf_dir", bin_dir: folder / "bin_dir"})
        text = _CONF.format(**{key: json.dumps(value) for key, value in values.items()})
        (folder / "config.toml").write_text(text)
        with ExitStack() as stack:
            cri = CRI(str(folder / "socket"), folder / "generated")
            stack.callback(cri.close)
            host = cls(folder, node, cri, {**os.environ, **(environ or {})}, places)
            stack.callback(host.stop)
            host.start()
            stack.callback(host.clear)
            host.load(image)
            yield host

    def load(self, image: Path) -> None:
        """Load an image, for CRI and for ctr."""
        snapshotter = ("--snapshotter", "overlayfs" if self.places else "native")
        for namespace in ("k8s.io", "default"):
            self.ctr("--namespace", namespace, "images", "import", *snapshotter, str(image))

    def network(self, conf: Mapping[str, Any], name: str = "00-multus") -> None:
        """Write a network's configuration; by default as the first file of its folder."""
        # Beside and renamed: containerd watches the folder.
        kind = "conflist" if "plugins" in conf else "conf"
        path = self.folder / "conf_dir" / f"{name}.{kind}"
        path.with_suffix(".new").write_text(json.dumps(conf))
        path.with_suffix(".new").rename(path)

    def wait_until_network_is(self, ready: bool) -> str:
        """Wait until containerd says so; returns its message."""
        deadline = time.monotonic() + 60
        while True:
            status, message = self.cri.conditions()["NetworkReady"]
            if status is ready:
                return message
            if time.monotonic() > deadline:
                raise TimeoutError(f"NetworkReady is {status}: {message}: {self.log()}")
            time.sleep(0.2)

    @contextmanager
    def sandbox(self, name: str, **pod: str) -> Iterator[str]:
        """A pod sandbox, as the kubelet makes one; gone at the end."""
        uid = pod.pop("uid", name)
        sandbox = self.cri.run(name, uid=uid, log=self.folder / "log", **pod)
        try:
            yield sandbox
        finally:
            self.cri.stop(sandbox)
            self.cri.remove(sandbox)

    def links(self, sandbox: str) -> dict[str, dict[str, Any]]:
        """The sandbox's links but loopback: ``ip -json address`` objects by name."""
        argv = ["nsenter", f"--net=/proc/{self.cri.pid(sandbox)}/ns/net", "--"]
        found = json.loads(output([*argv, "ip", "-json", "address"]))
        return {link["ifname"]: link for link in found if link["ifname"] != "lo"}

    def run_with_ctr(self, name: str, *command: str) -> str:
        """What *command* prints in a container that ``ctr run --cni`` runs."""
        sources = [str(self.folder / "conf_dir"), str(self.folder / "bin_dir")]
        with _folders(_FIXED):
            binds = [f"mount --bind {a} {b}" for a, b in zip(sources, _FIXED, strict=True)]
            script = " && ".join([*binds, 'exec "$@"'])
            run = ("run", "--rm", "--cni", "--snapshotter", "native", NAME, name, *command)
            return self.ctr(*run, prefix=("unshare", "--mount", "sh", "-c", script, "sh"))

    def clear(self) -> None:
        """End every task: one whose start failed is left with its process and mounts.

        Raises ``CommandFailed`` when that does not succeed within a few attempts: one fails while
        containerd itself still removes the same task.
        """
        for namespace in ("default", "k8s.io"):
            for attempt in range(_ATTEMPTS):
                try:
                    self._clear("--namespace", namespace)
                    break
                except CommandFailed:
                    if attempt + 1 == _ATTEMPTS:
                        raise
                    time.sleep(1)

    def _clear(self, *within: str) -> None:
        for task in self.ctr(*within, "tasks", "list", "--quiet").split():
            self.ctr(*within, "tasks", "delete", "--force", task)
        for container in self.ctr(*within, "containers", "list", "--quiet").split():
            self.ctr(*within, "containers", "delete", container)

    def ctr(self, *args: str, prefix: Sequence[str] = ()) -> str:
        """The standard output of ctr; raises ``CommandFailed``."""
        argv = [*prefix, "ctr", "--address", str(self.folder / "socket"), *args]
        return output(self.node.command(argv), timeout=120)

    def log(self) -> str:
        """The end of containerd's log."""
        return (self.folder / "containerd.log").read_text()[-4000:]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        argv = ["containerd", "--config", str(self.folder / "config.toml"), "--log-level", "info"]
        with (self.folder / "containerd.log").open("ab") as log:
            command = self.node.command(self.places.command(argv) if self.places else argv)
            self.process = subprocess.Popen(command, env=self.environ, stdout=log, stderr=log)
        self.cri.ready(30)

    def stop(self) -> None:
        """Stop it; what it runs goes on."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None
        for folder in [*_CGROUPS.glob(f"*{CGROUP}"), Path(f"{_CGROUPS}{CGROUP}")]:
            with suppress(OSError):  # others' sandboxes are in it
                folder.rmdir()


_ATTEMPTS = 5

#: With a folder for each controller in version 1.
_CGROUPS = Path("/sys/fs/cgroup")


@contextmanager
def _folders(paths: Sequence[str]) -> Iterator[None]:
    """Make folders that are missing, and remove those at the end."""
    with ExitStack() as stack:
        for path in paths:
            parts = Path(path).parts
            for depth in range(2, len(parts) + 1):
                folder = Path(*parts[:depth])
                if not folder.exists():
                    folder.mkdir()
                    stack.callback(folder.rmdir)
        yield
