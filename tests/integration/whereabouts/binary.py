"""The binary whereabouts as a node's IPAM plugin, where there is one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from integration.whereabouts.cluster import RANGE
from multus.testing.delegates import real_plugin


def installed() -> str | None:
    """The program, among the system's plugins or in ``PATH``."""
    return real_plugin("whereabouts") or shutil.which("whereabouts")


@frozen
class Binary:
    """A node that has *program*, beside the API server of *kubeconfig*; *folder* is its own."""

    program: str
    kubeconfig: str
    folder: Path
    node: str = "n1"

    def add(self, pod: str = "web", **options: Any) -> dict[str, Any]:
        """The result of an ADD; *options*: ``container``, ``ifname``, keys of ipam."""
        result: dict[str, Any] = json.loads(self._call("ADD", pod, options))
        return result

    def addresses(self, pod: str = "web", **options: Any) -> list[str]:
        return [each["address"] for each in self.add(pod, **options)["ips"]]

    def delete(self, pod: str = "web", **options: Any) -> None:
        self._call("DEL", pod, options)

    def _call(self, verb: str, pod: str, options: Mapping[str, Any]) -> str:
        keys = dict(options)
        container, ifname = keys.pop("container", f"c-{pod}"), keys.pop("ifname", "net1")
        # Without a file of its own it does nothing.
        self.folder.mkdir(exist_ok=True)
        own = self.folder / "whereabouts.conf"
        own.write_text(json.dumps({"kubernetes": {"kubeconfig": self.kubeconfig}}))
        ipam = {**RANGE, "configuration_path": str(own), **keys}
        conf = {"cniVersion": "1.0.0", "name": "net1", "type": "macvlan", "ipam": ipam}
        environ = {
            "PATH": os.environ["PATH"],
            "NODENAME": self.node,
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": "/run/netns/none",
            "CNI_IFNAME": ifname,
            "CNI_PATH": os.path.dirname(self.program),
            "CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}",
        }
        done = subprocess.run(
            [self.program], input=json.dumps(conf), env=environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr[-2000:]
        return done.stdout
