"""A cluster of one node, for tests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from attrs import evolve, frozen

from multus.testing.apiserver import ApiServer
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Answer, Container, Runtime

DEPLOY = Path(__file__).parents[3] / "deploy"
STATUS = "k8s.v1.cni.cncf.io/network-status"
NETWORKS = "k8s.v1.cni.cncf.io/networks"
DEFAULT_NETWORK = "v1.multus-cni.io/default-network"


@frozen
class Cluster:
    """A node, its runtime, and the API server; *folder* is for state and configurations."""

    api: ApiServer
    runtime: Runtime
    bin: BinDir
    node: Node
    folder: str
    kubeconfig: str

    def conf(self, **keys: Any) -> dict[str, Any]:
        """The first documentation's configuration with a kubeconfig; None omits a key."""
        conf = {
            "cniVersion": "1.0.0",
            "name": "node-cni-network",
            "type": "multus",
            "kubeconfig": self.kubeconfig,
            "binDir": self.bin.path,
            "cniDir": f"{self.folder}/multus",
            "confDir": f"{self.folder}/net.d",
            "kubeletDir": f"{self.folder}/k",
            "tenantPaths": {"dataDir": [f"{self.folder}/ipam"]},
            **keys,
        }
        return {key: value for key, value in conf.items() if value is not None}

    def shown(self, netns: Netns) -> str:
        """The pod's interfaces as ``ip -brief address`` shows them, without random values."""
        text = self.node.run("ip", "-n", netns.name, "-brief", "address", "show")
        text = re.sub(r"@\w+", "", text)
        text = re.sub(r"fe80::[0-9a-f:]+/64", "fe80::…/64", text)
        lines = "\n".join(" ".join(line.split()) for line in text.splitlines())
        # A dummy link, where the kernel has one to stand for a card, does not say that it is up.
        return re.sub(r"^(?!lo )(\S+) UNKNOWN", r"\1 UP", lines, flags=re.MULTILINE)

    def default(self, **keys: Any) -> dict[str, Any]:
        """A configuration whose default network is ``p0`` by ptp, with a default route."""
        ptp = {"type": "ptp", "name": "p0", "ipam": self.ipam("10.10.0", default_route=True)}
        return self.conf(delegates=[ptp], **keys)

    def ipam(self, subnet: str, *, default_route: bool = False) -> dict[str, Any]:
        """host-local in *subnet* (its first three numbers), with a store of this test."""
        ipam = {
            "type": "host-local",
            "subnet": f"{subnet}.0/24",
            "dataDir": f"{self.folder}/ipam",
        }
        return {**ipam, "routes": [{"dst": "0.0.0.0/0"}]} if default_route else ipam

    def nad(
        self,
        name: str,
        config: Mapping[str, Any] | str | None,
        *,
        namespace: str = "default",
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Create a NetworkAttachmentDefinition."""
        text = config if isinstance(config, str) or config is None else json.dumps(config)
        self.api.create(
            {
                "apiVersion": "k8s.cni.cncf.io/v1",
                "kind": "NetworkAttachmentDefinition",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "annotations": dict(annotations or {}),
                },
                "spec": {} if text is None else {"config": text},
            }
        )

    def bridge(self, nad: str, subnet: str, *, namespace: str = "default", **keys: Any) -> None:
        """Create the definition *nad* of a bridge with host-local addresses."""
        config = {
            "cniVersion": "1.0.0",
            "type": "bridge",
            "bridge": f"br-{nad}"[:15],
            "ipam": self.ipam(subnet),
            **keys,
        }
        self.nad(nad, config, namespace=namespace)

    def network(
        self,
        name: str,
        plugin: str,
        args: Sequence[Any] | str,
        *,
        namespace: str = "default",
        group: str = "kubernetes-network.cni.cncf.io",
    ) -> None:
        """Create a Network object."""
        self.api.create(
            {
                "apiVersion": f"{group}/v1",
                "kind": "Network",
                "metadata": {"name": name, "namespace": namespace},
                "plugin": plugin,
                "args": args if isinstance(args, str) else json.dumps(args),
            }
        )

    def pod(
        self,
        netns: Netns,
        annotations: Mapping[str, Any] | None = None,
        *,
        name: str = "web",
        namespace: str = "default",
        uid: str = "",
    ) -> Container:
        """Create a pod, and the container that the kubelet starts for it.

        Annotations that are no strings are written as JSON.
        """
        texts = {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in (annotations or {}).items()
        }
        stored = self.api.create_pod(name, texts, namespace=namespace)
        return self.container(netns, name, namespace, uid or stored["metadata"]["uid"])

    def container(self, netns: Netns, name: str, namespace: str, uid: str) -> Container:
        """The container that the kubelet starts for a pod."""
        container = Container(netns.path)
        args = {
            "IgnoreUnknown": "1",
            "K8S_POD_NAMESPACE": namespace,
            "K8S_POD_NAME": name,
            "K8S_POD_INFRA_CONTAINER_ID": container.id,
            "K8S_POD_UID": uid,
        }
        return evolve(container, args=";".join(f"{key}={value}" for key, value in args.items()))

    def add(self, conf: Any, container: Container) -> Answer:
        return self.runtime.add(conf, container)

    def delete(self, conf: Any, container: Container, prev_result: Any = None) -> Answer:
        return self.runtime.delete(conf, container, prev_result)

    def annotate(self, networks: Any, *, name: str = "web", namespace: str = "default") -> None:
        """Set the annotation for networks of a pod; None removes it."""
        is_text = networks is None or isinstance(networks, str)
        text = networks if is_text else json.dumps(networks)
        self.api.annotate(name, {NETWORKS: text}, namespace=namespace)

    def command(self, *argv: str) -> Answer:
        """Run a command of the program on the node."""
        return self.runtime.start(self.runtime.environ, b"", *argv)

    def annotations(self, name: str = "web", namespace: str = "default") -> dict[str, str]:
        """The annotations of a pod now."""
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
        }
        return dict(self.api.get(pod)["metadata"].get("annotations") or {})

    def status(self, name: str = "web", namespace: str = "default") -> list[dict[str, Any]]:
        """The network-status annotation of a pod, decoded; empty until it is written."""
        return list(json.loads(self.annotations(name, namespace).get(STATUS, "[]")))

    def events(self, namespace: str = "default") -> list[tuple[str, str, str]]:
        """Type, reason and message of every event, sorted."""
        kind = self.api.store.kind("", "v1", "events")
        assert kind is not None
        found = self.api.store.objects(kind, namespace, ())
        return sorted((each["type"], each["reason"], each["message"]) for each in found)

    def gets(self, part: str) -> int:
        """How many GETs had *part* in their path."""
        return sum(
            n for (method, path), n in self.api.requests.items() if method == "GET" and part in path
        )


def manifest(path: str) -> list[dict[str, Any]]:
    """The objects in a file under deploy/."""
    return [each for each in yaml.safe_load_all((DEPLOY / path).read_text()) if each]
