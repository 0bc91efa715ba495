"""The work: a pod's N networks, each a ptp link with an address of host-local."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

from multus.testing.delegates import SYSTEM_FOLDERS
from multus.testing.runtime import Container

CNI_PATH = ":".join(SYSTEM_FOLDERS)
VERSION = "1.0.0"


@frozen
class Workload:
    """*networks* networks for one pod; the addresses in use lie under *folder*."""

    networks: int
    folder: str

    def delegates(self) -> list[dict[str, Any]]:
        """One configuration for each network, the first the primary."""
        return [
            {
                "type": "ptp",
                "name": f"bench{index}",
                "ipam": {
                    "type": "host-local",
                    "subnet": f"10.{100 + index}.0.0/16",
                    "dataDir": f"{self.folder}/ipam",
                },
            }
            for index in range(self.networks)
        ]

    def one(self) -> bytes:
        """The first network's configuration, as its plugin gets it."""
        return json.dumps({"cniVersion": VERSION, **self.delegates()[0]}).encode()

    def conf(self, **keys: Any) -> bytes:
        """The configuration of a meta-plugin for them."""
        conf = {
            "cniVersion": VERSION,
            "name": "bench",
            "type": "multus",
            "cniDir": f"{self.folder}/multus",
            "delegates": self.delegates(),
            **keys,
        }
        return json.dumps(conf).encode()


def environ(command: str, container: Container, ifname: str = "eth0") -> dict[str, str]:
    """The environment of one call."""
    return {
        **container.environ(),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "CNI_COMMAND": command,
        "CNI_PATH": CNI_PATH,
        "CNI_IFNAME": ifname,
    }
