"""A cluster of several nodes, each with a pod of Multus in which ``kubectl exec`` runs commands.

The pod has a root of its own, as a container has: the machine's, with the node's folders in place
of /etc/cni, /opt/cni, /var/lib/cni and /run/multus, and with the node's root at /host.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from multus.testing.apiserver import ApiServer, Container
from multus.testing.netns import Netns

NAMESPACE = "kube-system"
LABELS = {"app.kubernetes.io/name": "multus-python"}

_ROOT = """
set -e
host=$1; shift
mount -t tmpfs tmpfs /mnt
for each in /*; do
    if [ -L "$each" ]; then cp -P "$each" /mnt
    elif [ "$each" != /mnt ] && [ -d "$each" ]; then
        mkdir "/mnt$each"; mount --rbind "$each" "/mnt$each"
    fi
done
mkdir /mnt/host; mount --bind "$host" /mnt/host
for each in etc/cni opt/cni var/lib/cni run/multus; do
    mkdir -p "/mnt/$each" "$host/$each"; mount --bind "$host/$each" "/mnt/$each"
done
exec chroot /mnt "$@"
"""


@frozen
class KubeNode:
    """One node; ``host`` is its root folder, ``prefix`` runs a command in its pod of Multus."""

    name: str
    host: Path
    pod: str

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("unshare", "--mount", "sh", "-c", _ROOT, "sh", str(self.host))

    def write(self, path: str, wire: Mapping[str, Any]) -> None:
        file = self.host / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(wire))
        file.chmod(0o600)


@frozen
class ManyNodes:
    """The cluster, and the machine of an operator with a kubeconfig."""

    api: ApiServer
    folder: Path
    network: Netns
    pods: Callable[[], Netns]
    nodes: dict[str, KubeNode] = field(factory=dict)

    def add(
        self, name: str, *, ready: str = "True", phase: str = "Running", **conf: Any
    ) -> KubeNode:
        """A node with a configuration; with *phase* "" it has no pod of Multus."""
        node = KubeNode(name, self.folder / name, f"multus-python-{name}" if phase else "")
        self.nodes[name] = node
        labels = {"kubernetes.io/os": "linux", "rack": name[-1]}
        state = {"conditions": [{"type": "Ready", "status": ready}]}
        metadata = {"name": name, "labels": labels}
        self.api.create({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": state})
        node.write("etc/cni/net.d/00-multus.conf", self.configuration())
        program = node.host / "opt/cni/bin/multus"
        program.parent.mkdir(parents=True)
        program.symlink_to(f"{os.path.dirname(sys.executable)}/multus")
        if phase:
            self.create_pod(node, phase)
        return node

    def create_pod(self, node: KubeNode, phase: str) -> None:
        """The pod of Multus on a node."""
        metadata = {"name": node.pod, "namespace": NAMESPACE, "labels": LABELS}
        spec = {"nodeName": node.name, "containers": [{"name": "daemon"}, {"name": "refresh"}]}
        wire = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        self.api.create({**wire, "status": {"phase": phase}})
        environ = {"MULTUS_NODE_NAME": node.name, "MULTUS_STANDALONE": "1"}
        environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}:/usr/sbin:/sbin"
        self.api.containers[NAMESPACE, node.pod, "daemon"] = Container(node.prefix, environ)

    def configuration(self) -> dict[str, Any]:
        ipam = {"type": "host-local", "subnet": f"10.{60 + len(self.nodes)}.0.0/28"}
        return {
            "cniVersion": "1.0.0",
            "name": "node-net",
            "type": "multus",
            "binDir": "/usr/lib/cni",
            "delegates": [{"name": "lan", "type": "ptp", "ipam": ipam}],
        }

    def attach(self, node: KubeNode, namespace: str, name: str) -> None:
        """Attach a pod on *node*, as its runtime does; its object has the label ``app=NAME``."""
        self.api.create_pod(name, namespace=namespace, node=node.name, labels={"app": name})
        pod = self.pods()
        environ = {
            **self.api.containers[NAMESPACE, node.pod, "daemon"].environ,
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": f"c-{namespace}-{name}",
            "CNI_NETNS": pod.path,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/usr/lib/cni",
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}",
        }
        argv = self.network.command([*node.prefix, "multus"])
        conf = (node.host / "etc/cni/net.d/00-multus.conf").read_bytes()
        done = subprocess.run(
            argv, input=conf, env={**os.environ, **environ}, capture_output=True, check=False
        )
        assert done.returncode == 0, f"{done.stdout!r}{done.stderr!r}"

    def command(self, *words: str) -> list[str]:
        """A command of ``kubectl multus`` on the operator's machine."""
        return ["kubectl", "multus", *words]

    @property
    def environ(self) -> dict[str, str]:
        """The operator's environment: the program is in PATH, where kubectl finds it."""
        path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
        kubeconfig = self.api.write_kubeconfig(self.folder)
        return {**os.environ, "PATH": path, "KUBECONFIG": kubeconfig, "HOME": str(self.folder)}

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of ``kubectl multus``, with time enough on a busy machine."""
        return subprocess.run(
            self.command(words[0], "--timeout=60", *words[1:]),
            input=stdin,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
