"""The work: a pod's N networks of one kind, each with an address of host-local."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from attrs import frozen

from multus.registry.index import discover
from multus.testing.delegates import SYSTEM_FOLDERS
from multus.testing.runtime import Container

CNI_PATH = ":".join(SYSTEM_FOLDERS)
VERSION = "1.0.0"

#: By kind: the types of the networks, one after the other, then from the start again.
KINDS = {
    "ptp": ("ptp",),
    "bridge": ("bridge",),
    "macvlan": ("macvlan",),
    "mixed": ("bridge", "macvlan", "ptp"),
    "chain": ("chain",),
}

#: What the one network of kind ``chain`` runs one after the other: a mapped port needs all of them.
CHAIN = ("bridge", "tuning", "portmap")

#: The parent of macvlan links: one end of a veth pair.
UPLINK = "uplink"

#: By type: the plugin of Multus that attaches it in-process, where that is installed.
_PLUGINS = {
    "ptp": "invoker-ptp",
    "bridge": "invoker-bridge",
    "macvlan": "invoker-vlans",
    "tuning": "invoker-tuning",
    "portmap": "invoker-portmap",
}


#: What a runtime passes for a chain's pod, of whose networks only the default gets it.
_PORTS = {"portMappings": [{"hostPort": 20080, "containerPort": 80, "protocol": "tcp"}]}


@frozen
class Workload:
    """*networks* networks of *kind* for one pod; the addresses in use lie under *folder*."""

    networks: int
    folder: str
    kind: str = "ptp"

    def delegates(self) -> list[dict[str, Any]]:
        """One configuration for each network, the first the primary."""
        types = KINDS[self.kind]
        return [self._network(index, types[index % len(types)]) for index in range(self.networks)]

    def plugins(self) -> list[list[dict[str, Any]]]:
        """The configurations that a runtime would give to each network's plugins, one by one."""
        return [
            [
                {
                    **each,
                    "cniVersion": VERSION,
                    "name": network["name"],
                    **({"runtimeConfig": _PORTS} if "capabilities" in each else {}),
                }
                for each in network.get("plugins", [network])
            ]
            for network in self.delegates()
        ]

    def one(self) -> bytes:
        """The configuration that the first network's first plugin gets."""
        return json.dumps(self.plugins()[0][0]).encode()

    def invokers(self, how: str) -> dict[str, str]:
        """The key ``invokers``: *how* is ``exec`` or ``in-process``."""
        types = {each["type"] for plugins in self.plugins() for each in plugins}
        return {each: each if how == "in-process" and served(each) else "exec" for each in types}

    def conf(self, how: str = "", **keys: Any) -> bytes:
        """The configuration of a meta-plugin for them; *how* as for `invokers`."""
        conf = {
            "cniVersion": VERSION,
            "name": "bench",
            "type": "multus",
            "cniDir": f"{self.folder}/multus",
            "delegates": self.delegates(),
            **({"invokers": self.invokers(how)} if how else {}),
            **({"runtimeConfig": _PORTS} if self.kind == "chain" else {}),
            **keys,
        }
        return json.dumps(conf).encode()

    def _network(self, index: int, kind: str) -> dict[str, Any]:
        name = f"bench{index}"
        if kind == "chain":
            plugins = [self._plugin(index, each) for each in CHAIN]
            return {"cniVersion": VERSION, "name": name, "plugins": plugins}
        return {**self._plugin(index, kind), "name": name}

    def _plugin(self, index: int, kind: str) -> dict[str, Any]:
        if kind == "tuning":
            return {"type": kind, "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}}
        if kind == "portmap":
            return {"type": kind, "capabilities": {"portMappings": True}}
        ipam = {
            "type": "host-local",
            "subnet": f"10.{100 + index}.0.0/16",
            "dataDir": f"{self.folder}/ipam",
        }
        own: dict[str, dict[str, Any]] = {
            "bridge": {"bridge": f"bench{index}", "isGateway": True},
            "macvlan": {"master": UPLINK},
        }
        return {"type": kind, **own.get(kind, {}), "ipam": ipam}


@cache
def served(kind: str) -> bool:
    """Whether a plugin is installed that attaches this type in-process."""
    return any(entry.name == _PLUGINS[kind] for entry in discover())


def unserved() -> list[str]:
    """The types of all kinds that no installed plugin attaches in-process."""
    return [kind for kind in _PLUGINS if not served(kind)]


def environ(command: str, container: Container, ifname: str = "eth0") -> dict[str, str]:
    """The environment of one call."""
    return {
        **container.environ(),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "CNI_COMMAND": command,
        "CNI_PATH": CNI_PATH,
        "CNI_IFNAME": ifname,
    }
