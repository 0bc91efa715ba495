"""A node with a daemon, and the API server that it follows, each a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import field, frozen

from multus.cni import shim
from multus.testing.runtime import installed_program

NODE = "n1"
_NETWORKS = "k8s.v1.cni.cncf.io/networks"


def c_shim() -> str | None:
    """The C shim beside the installed program; None where it was not compiled."""
    path = os.path.join(os.path.dirname(sys.executable), "multus-shim")
    return path if os.access(path, os.X_OK) else None


@frozen
class Cluster:
    """The API server's stand-in: spoken to over its own wire form."""

    url: str
    kubeconfig: str
    ca: str
    token: str
    defined: set[str] = field(factory=set)

    def create(self, path: str, wire: Mapping[str, Any]) -> None:
        self._call("POST", path, wire)

    def delete(self, path: str) -> None:
        self._call("DELETE", path, None)

    def pod(self, name: str, networks: Sequence[str]) -> str:
        """Create a pod of this node; returns its UID."""
        annotations = {_NETWORKS: ",".join(networks)} if networks else {}
        made = self._call(
            "POST",
            "/api/v1/namespaces/default/pods",
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "default", "annotations": annotations},
                "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "pause"}]},
            },
        )
        return str(made["metadata"]["uid"])

    def definition(self, name: str, config: Mapping[str, Any]) -> None:
        """Create a NetworkAttachmentDefinition, unless there is one of that name."""
        if name in self.defined:
            return
        self.defined.add(name)
        self.create(
            "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions",
            {
                "apiVersion": "k8s.cni.cncf.io/v1",
                "kind": "NetworkAttachmentDefinition",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"config": json.dumps(config)},
            },
        )

    def requests(self) -> dict[str, int]:
        """How many requests there were since the last look, by ``METHOD path``."""
        counted = self._call("GET", "/stand-in/requests", None)["requests"]
        self._call("POST", "/stand-in/reset", None)
        return {key: n for key, n in counted.items() if "/stand-in/" not in key}

    def _call(self, method: str, path: str, wire: Mapping[str, Any] | None) -> Any:
        context = ssl.create_default_context(cafile=self.ca)
        address = self.url.removeprefix("https://")
        connection = http.client.HTTPSConnection(address, context=context, timeout=30)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        body = None if wire is None else json.dumps(wire)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()[:200]}")
        return json.loads(text)


@contextmanager
def cluster(folder: str) -> Iterator[Cluster]:
    """Run the stand-in in this network namespace."""
    argv = [sys.executable, "-m", "multus.testing.apiserver", "--directory", folder]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            kubeconfig = os.path.join(folder, "kubeconfig")
            token = json.loads(Path(kubeconfig).read_text())["users"][0]["user"]["token"]
            yield Cluster(url, kubeconfig, os.path.join(folder, "ca.crt"), token)
        finally:
            process.send_signal(signal.SIGTERM)


@frozen
class Daemon:
    """A running daemon, and how its shims find it."""

    socket: str
    pid: int
    python_shim: str

    @property
    def variables(self) -> dict[str, str]:
        return {"MULTUS_SOCKET": self.socket}

    def control(self, word: str) -> tuple[int, bytes]:
        return shim.control({b"MULTUS_SOCKET": os.fsencode(self.socket)}, word.encode())

    def wait_known(self, pods: int) -> None:
        """Until it has heard of this many pods."""
        line = f'multus_cache_objects{{cache="pods of node {NODE}"}}'.encode()

        def known() -> bool:
            lines = self.control("metrics")[1].splitlines()
            return any(each.startswith(line) and float(each.split()[-1]) == pods for each in lines)

        _wait(known, f"the daemon does not know {pods} pods")

    def wait_written(self) -> None:
        """Until it has written all events, which it does when no container waits."""

        def written() -> bool:
            lines = self.control("metrics")[1].splitlines()
            return b"multus_queued_writes 0.0" in lines

        _wait(written, "the daemon does not get its events written")

    def spent(self, command: str) -> float:
        """Seconds that it has spent on all calls of *command* so far."""
        line = f'multus_server_request_seconds_sum{{method="{command}"}}'.encode()
        lines = self.control("metrics")[1].splitlines()
        return sum(float(each.split()[-1]) for each in lines if each.startswith(line))

    def cpu(self) -> float:
        """Seconds of CPU that its processes have taken, with the programs that they started."""
        return sum(map(_seconds, _family(self.pid)))

    def memory(self) -> int:
        """Bytes that all its processes have now; what they share is counted once."""
        return sum(map(_share, _family(self.pid)))


def _family(pid: int) -> list[int]:
    """A process and those that it or they started."""
    with suppress(OSError):  # it has ended
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *(each for child in children for each in _family(int(child)))]
    return []


def _share(pid: int) -> int:
    """The proportional set size of a process: proc(5), smaps_rollup."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(each.split()[1]) << 10 for each in lines if each.startswith("Pss:"))
    return 0


def _seconds(pid: int) -> float:
    """User and system time of a process and of its children that ended: proc(5), stat."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


@contextmanager
def daemon(folder: str, cgroup: Path | None = None, **settings: Any) -> Iterator[Daemon]:
    """Run a daemon in this network namespace, and in *cgroup* when one is given."""
    os.makedirs(folder, exist_ok=True)
    config, socket = os.path.join(folder, "daemon.json"), os.path.join(folder, "run", "multus.sock")
    keys = {"cniDir": os.path.join(folder, "state"), "nodeName": NODE, **settings}
    Path(config).write_text(json.dumps(keys))
    script = os.path.join(folder, "python-shim")
    Path(script).write_text(shim.launcher())
    os.chmod(script, 0o755)
    argv = [*installed_program(), "daemon", "--config", config]
    if cgroup is not None:
        enter = f'echo $$ >"{cgroup}/cgroup.procs" && exec "$@"'
        argv = ["sh", "-c", enter, "sh", *argv]
    environ = {**os.environ, "MULTUS_SOCKET": socket}
    with subprocess.Popen(argv, env=environ) as process:
        try:
            running = Daemon(socket, process.pid, script)
            _wait(lambda: running.control("health")[0] == 0, "the daemon does not start")
            yield running
        finally:
            process.send_signal(signal.SIGTERM)


def _wait(condition: Any, what: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(what)
        time.sleep(0.02)
