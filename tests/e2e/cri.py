"""A client of the Container Runtime Interface, as the kubelet is one."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: The parent of all sandboxes' cgroups: runc makes it, and removes only what is below.
CGROUP = "/e2e"

_PROTO = Path(__file__).with_name("cri.proto")


class CRI:
    """Calls a runtime on its socket; raises ``grpc.RpcError`` with what it says."""

    def __init__(self, socket: str, generated: Path) -> None:
        """*generated* is a folder for the modules that are made of the interface's description."""
        import grpc

        self._messages, stubs = _compiled(generated)
        self._configs: dict[str, Mapping[str, Any]] = {}
        self._channel = grpc.insecure_channel(f"unix://{socket}")
        self._runtime = stubs.RuntimeServiceStub(self._channel)

    def ready(self, timeout: float) -> None:
        """Wait until the runtime answers."""
        import grpc

        grpc.channel_ready_future(self._channel).result(timeout)

    def run(
        self, name: str, *, namespace: str = "default", uid: str, log: Path, network: str = "POD"
    ) -> str:
        """Run a pod sandbox; returns its ID.  *network* is NODE for a pod in the node's network."""
        config = {
            "metadata": {"name": name, "uid": uid, "namespace": namespace},
            "hostname": name if network == "POD" else "",
            "log_directory": str(log),
            "linux": {
                "cgroup_parent": CGROUP,
                "security_context": {"namespace_options": {"network": network}},
            },
        }
        answer = self._call("RunPodSandbox", "RunPodSandboxRequest", {"config": config})
        self._configs[str(answer.pod_sandbox_id)] = config
        return str(answer.pod_sandbox_id)

    def stop(self, sandbox: str) -> None:
        """Stop a sandbox: its networks go."""
        request = self._messages.StopPodSandboxRequest(pod_sandbox_id=sandbox)
        self._runtime.StopPodSandbox(request, timeout=60)

    def remove(self, sandbox: str) -> None:
        """Remove a sandbox that is stopped."""
        request = self._messages.RemovePodSandboxRequest(pod_sandbox_id=sandbox)
        self._runtime.RemovePodSandbox(request, timeout=60)

    def sandboxes(self) -> list[str]:
        """The IDs of all sandboxes, also of those that failed to start."""
        request = self._messages.ListPodSandboxRequest()
        items = self._runtime.ListPodSandbox(request, timeout=60).items
        return [str(each.id) for each in items]

    def addresses(self, sandbox: str) -> list[str]:
        """The addresses that the runtime reports for the sandbox, its main one first."""
        network = self._status(sandbox).status.network
        return [network.ip, *(each.ip for each in network.additional_ips)]

    def pid(self, sandbox: str) -> int:
        """The process that holds the sandbox's namespaces."""
        info: Mapping[str, Any] = json.loads(self._status(sandbox).info["info"])
        return int(info["pid"])

    def networks(self) -> list[str]:
        """The names of the networks that the runtime gives pods."""
        request = self._messages.StatusRequest(verbose=True)
        info = json.loads(self._runtime.Status(request, timeout=30).info["cniconfig"])
        return [each["Config"]["Name"] for each in info["Networks"] or ()]

    def conditions(self) -> dict[str, tuple[bool, str]]:
        """The runtime's conditions: ``{type: (status, message)}``."""
        status = self._runtime.Status(self._messages.StatusRequest(), timeout=30).status
        return {each.type: (each.status, each.message) for each in status.conditions}

    def create(self, sandbox: str, config: Mapping[str, Any]) -> str:
        """Create a container, with a ``ContainerConfig`` as JSON, and start it; returns its ID."""
        wire = {
            "pod_sandbox_id": sandbox,
            "config": config,
            "sandbox_config": self._configs[sandbox],
        }
        created = self._call("CreateContainer", "CreateContainerRequest", wire)
        container = str(created.container_id)
        self._call("StartContainer", "ContainerRequest", {"container_id": container})
        return container

    def state(self, container: str) -> tuple[str, int]:
        """A container's state, such as ``RUNNING``, and its exit status."""
        wire = {"container_id": container}
        status = self._call("ContainerStatus", "ContainerRequest", wire).status
        return self._messages.ContainerState.Name(status.state), int(status.exit_code)

    def end(self, container: str, grace: int) -> None:
        """Stop a container: it is killed after *grace* seconds."""
        wire = {"container_id": container, "timeout": grace}
        self._call("StopContainer", "StopContainerRequest", wire, timeout=grace + 30)

    def execute(self, container: str, *argv: str) -> tuple[int, str]:
        """The exit status of a program in a container, and what it printed."""
        wire = {"container_id": container, "cmd": argv, "timeout": 60}
        done = self._call("ExecSync", "ExecSyncRequest", wire, timeout=90)
        return int(done.exit_code), (done.stdout + done.stderr).decode(errors="replace")

    def _call(self, name: str, message: str, wire: Mapping[str, Any], timeout: float = 60) -> Any:
        from google.protobuf.json_format import ParseDict

        request = ParseDict(wire, getattr(self._messages, message)())
        return getattr(self._runtime, name)(request, timeout=timeout)

    def close(self) -> None:
        self._channel.close()

    def _status(self, sandbox: str) -> Any:
        request = self._messages.PodSandboxStatusRequest(pod_sandbox_id=sandbox, verbose=True)
        return self._runtime.PodSandboxStatus(request, timeout=30)


def _compiled(folder: Path) -> tuple[Any, Any]:
    """The modules of the description: its messages and its stubs."""
    from grpc_tools import protoc

    if "cri_pb2_grpc" not in sys.modules:
        folder.mkdir(exist_ok=True)
        argv = ["protoc", f"-I{_PROTO.parent}", f"--python_out={folder}"]
        if protoc.main([*argv, f"--grpc_python_out={folder}", str(_PROTO)]):
            raise RuntimeError(f"protoc cannot read {_PROTO}")
        sys.path.insert(0, str(folder))
        try:
            importlib.import_module("cri_pb2_grpc")
        finally:
            sys.path.remove(str(folder))
    return sys.modules["cri_pb2"], sys.modules["cri_pb2_grpc"]
