"""The DaemonSet's pod, as the kubelet makes it of the manifest: by CRI, with its real paths.

Source: Kubernetes 1.33, ``pkg/kubelet/kuberuntime`` (what of a pod becomes what of CRI), and
``pkg/securitycontext`` (paths that containers do not see, or cannot write).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from attrs import define, field, frozen
from repository import ROOT

from e2e.containerd import ContainerdHost

_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_PROPAGATION = {
    "HostToContainer": "PROPAGATION_HOST_TO_CONTAINER",
    "Bidirectional": "PROPAGATION_BIDIRECTIONAL",
}
_MASKED = (
    *(f"/proc/{each}" for each in ("acpi", "asound", "kcore", "keys", "latency_stats")),
    *(f"/proc/{each}" for each in ("sched_debug", "scsi", "timer_list", "timer_stats")),
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
_READ_ONLY = tuple(f"/proc/{each}" for each in ("bus", "fs", "irq", "sys", "sysrq-trigger"))

#: Of the class system-node-critical.
_OOM_SCORE = -997


def template() -> Mapping[str, Any]:
    """The specification of the manifest's pod."""
    (wire,) = yaml.safe_load_all((ROOT / "deploy/daemonset/daemonset.yaml").read_text())
    return dict(wire["spec"]["template"]["spec"])


def host_paths(spec: Mapping[str, Any]) -> list[str]:
    """The node's folders that the pod uses, without the root."""
    paths = [each["hostPath"]["path"] for each in spec["volumes"] if "hostPath" in each]
    return [path for path in paths if path != "/"]


@frozen
class Node:
    """What the kubelet knows of its node and the cluster.

    ``config`` has the files of the ConfigMap, ``account`` those of the service account.
    """

    name: str
    config: Path
    account: Path
    api_port: int

    def fields(self) -> dict[str, str]:
        return {"spec.nodeName": self.name, "status.podIP": "127.0.0.1"}

    def variables(self, container: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        yield {"key": "KUBERNETES_SERVICE_HOST", "value": "127.0.0.1"}
        yield {"key": "KUBERNETES_SERVICE_PORT", "value": str(self.api_port)}
        for each in container.get("env", ()):
            source = each.get("valueFrom")
            value = self.fields()[source["fieldRef"]["fieldPath"]] if source else each["value"]
            yield {"key": each["name"], "value": value}


@define
class DaemonSetPod:
    """The pod of the DaemonSet on a host, with an image."""

    host: ContainerdHost
    node: Node
    image: str
    spec: Mapping[str, Any] = field(factory=template)
    sandbox: str = ""
    containers: dict[str, str] = field(factory=dict)

    def start(self) -> None:
        """Run the init containers to their end, then start the others and wait for their probes.

        Raises ``RuntimeError`` with the log of what fails.
        """
        name = f"multus-python-{secrets.token_hex(3)}"
        self.sandbox = self.host.cri.run(
            name, namespace="kube-system", uid=name, log=self._log, network="NODE"
        )
        for each in self.spec["initContainers"]:
            container = self._create(each)
            state, status = self._eventually(lambda c=container: self._ended(c))  # type: ignore[misc]
            if status:
                raise self._failed(each["name"], f"{state}, status {status}")
        for each in self.spec["containers"]:
            self.containers[each["name"]] = self._create(each)
        for each in self.spec["containers"]:
            if "startupProbe" in each:
                self._eventually(lambda e=each: self.probe(e["name"], "startupProbe"))  # type: ignore[misc]

    def stop(self) -> None:
        """Stop the containers, all with the pod's grace period at once, and then the pod."""
        grace = int(self.spec["terminationGracePeriodSeconds"])
        if self.containers:
            with ThreadPoolExecutor(len(self.containers)) as pool:
                ends = [pool.submit(self.host.cri.end, e, grace) for e in self.containers.values()]
                for each in ends:
                    each.result()
        if self.sandbox:
            self.host.cri.stop(self.sandbox)
            self.host.cri.remove(self.sandbox)
        self.sandbox = ""
        self.containers.clear()

    def probe(self, name: str, kind: str) -> bool:
        """Whether a container's probe succeeds; raises ``RuntimeError`` when it has ended."""
        container = self.containers[name]
        state, status = self.host.cri.state(container)
        if state != "RUNNING":
            raise self._failed(name, f"{state}, status {status}")
        command = self._of(name)[kind]["exec"]["command"]
        return self.host.cri.execute(container, *command)[0] == 0

    def execute(self, name: str, *argv: str) -> str:
        """What a program prints in a container; raises ``RuntimeError`` when it fails."""
        status, said = self.host.cri.execute(self.containers[name], *argv)
        if status:
            raise RuntimeError(f"{argv} in {name} ended with {status}: {said}")
        return said

    def log(self, name: str) -> str:
        """What a container has written."""
        path = self._log / f"{name}.log"
        return path.read_text() if path.exists() else ""

    # --- what the kubelet makes of the manifest ---------------------------------------------------

    @property
    def _log(self) -> Path:
        return self.host.folder / "log"

    def _of(self, name: str) -> Mapping[str, Any]:
        return next(each for each in self.spec["containers"] if each["name"] == name)

    def _create(self, container: Mapping[str, Any]) -> str:
        # Where the runtime has no profiles of AppArmor, it is as the manifest asks: unconfined.
        return self.host.cri.create(
            self.sandbox,
            {
                "metadata": {"name": container["name"]},
                "image": {"image": self.image},
                "command": container.get("command", []),
                "args": container.get("args", []),
                "envs": list(self.node.variables(container)),
                "mounts": list(self._mounts(container)),
                "log_path": f"{container['name']}.log",
                "linux": {"resources": resources(container), "security_context": rights(container)},
            },
        )

    def _mounts(self, container: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        volumes = {each["name"]: each for each in self.spec["volumes"]}
        for mount in container["volumeMounts"]:
            volume = volumes[mount["name"]]
            if "configMap" in volume:
                source = str(self.node.config / mount["subPath"])
            else:
                source = volume["hostPath"]["path"]
            yield {
                "container_path": mount["mountPath"],
                "host_path": source,
                "readonly": mount.get("readOnly", False),
                "propagation": _PROPAGATION.get(
                    mount.get("mountPropagation", ""), "PROPAGATION_PRIVATE"
                ),
            }
        yield {"container_path": _ACCOUNT, "host_path": str(self.node.account), "readonly": True}

    def _ended(self, container: str) -> tuple[str, int] | None:
        state, status = self.host.cri.state(container)
        return (state, status) if state == "EXITED" else None

    def _eventually(self, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 60
        while not (found := look()):
            if time.monotonic() > deadline:
                raise self._failed("the pod", "not ready in time")
            time.sleep(0.05)
        return found

    def _failed(self, name: str, what: str) -> RuntimeError:
        logs = "".join(f"\n--- {path.name}\n{path.read_text()}" for path in self._log.glob("*.log"))
        return RuntimeError(f"{name}: {what}{logs}")


def resources(container: Mapping[str, Any]) -> dict[str, int]:
    """A container's requests and limits."""
    wire = container["resources"]
    return {
        "cpu_shares": int(quantity(wire["requests"]["cpu"]) * 1024),
        "memory_limit_in_bytes": int(quantity(wire["limits"]["memory"])),
        "oom_score_adj": _OOM_SCORE,
    }


def quantity(text: str) -> float:
    """A quantity with one of the suffixes that the manifest uses."""
    factors = {"m": 0.001, "Mi": 1 << 20}
    suffix = next((each for each in factors if text.endswith(each)), "")
    return float(text.removesuffix(suffix)) * factors.get(suffix, 1)


def rights(container: Mapping[str, Any]) -> dict[str, Any]:
    """A container's security context."""
    context = container["securityContext"]
    capabilities = context["capabilities"]
    return {
        "capabilities": {
            "add_capabilities": capabilities.get("add", []),
            "drop_capabilities": capabilities["drop"],
        },
        "namespace_options": {"network": "NODE", "pid": "CONTAINER"},
        "run_as_user": {"value": context["runAsUser"]},
        "readonly_rootfs": context["readOnlyRootFilesystem"],
        "no_new_privs": not context.get("allowPrivilegeEscalation", True),
        "masked_paths": _MASKED,
        "readonly_paths": _READ_ONLY,
        "seccomp": {"profile_type": int(context["seccompProfile"]["type"] != "RuntimeDefault")},
    }


def wait_for_network(host: ContainerdHost, names: Sequence[str]) -> None:
    """Wait until the runtime has read the configuration of networks with these *names*."""
    deadline = time.monotonic() + 60
    while not set(names) <= set(host.cri.networks()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{host.cri.networks()}, not {names}: {host.log()}")
        time.sleep(0.05)
