"""A namespace that plays the host, a pod beside it, and the in-process invokers between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen

from multus.api.invoker import Invoker
from multus.api.result import Result
from multus.netlink import Namespace, Transport
from multus.testing.invocation import Caller
from multus.testing.netns import HostState, Netns, Node
from multus.testing.session import new_session

if TYPE_CHECKING:
    from socket import socket

#: The invoker of each type.
INVOKERS = {
    "ptp": "multus_invoker_ptp.invoker:Ptp",
    "bridge": "multus_invoker_bridge.invoker:Bridge",
    "macvlan": "multus_invoker_vlans.invokers:Macvlan",
    "ipvlan": "multus_invoker_vlans.invokers:Ipvlan",
    "vlan": "multus_invoker_vlans.invokers:Vlan",
    "dummy": "multus_invoker_vlans.invokers:Dummy",
    "host-device": "multus_invoker_host_device.invoker:HostDevice",
    "flannel": "integration.links.delegating:Flannel",
}

#: Networks, each with most of its type's steps.
NETWORKS: dict[str, dict[str, Any]] = {
    "ptp": {"type": "ptp", "ipMasq": True, "mtu": 1400},
    "bridge": {"type": "bridge", "bridge": "br0", "isGateway": True, "ipMasq": True, "mtu": 1400},
    "bridge port": {
        "type": "bridge",
        "bridge": "br0",
        **dict.fromkeys(("hairpinMode", "portIsolation", "macspoofchk"), True),
    },
    "macvlan": {"type": "macvlan", "master": "uplink", "mode": "private"},
    "host-device": {"type": "host-device", "device": "card0"},
    "flannel": {"type": "flannel", "delegate": {"bridge": "br0", "isDefaultGateway": True}},
}

LEASE = """\
FLANNEL_NETWORK=10.0.0.0/8
FLANNEL_MTU=1450
FLANNEL_IPMASQ=false
"""


#: What stays: bridges, and the table and the chain from which their rules start.
SHARED = ("br0", "firewall table bridge nat / nat:", "firewall chain bridge nat / PREROUTING:")


def invoker_of(
    config: dict[str, Any], transport: Callable[[socket], Transport] = Transport
) -> Invoker:
    """The invoker of a configuration's type."""
    module, _, name = INVOKERS[config["type"]].partition(":")
    made = getattr(pytest.importorskip(module) and import_module(module), name)(transport)
    assert isinstance(made, Invoker)
    return made


@frozen
class Host:
    """The host, a pod, and a folder for the addresses that are handed out."""

    node: Node
    pod: Netns
    inside: Namespace
    folder: Path
    empty: HostState
    container_id: str = "container1"

    @property
    def caller(self) -> Caller:
        return Caller(self.container_id, self.pod.path)

    def config(
        self, network: str, *, subnet: str = "10.90.0.0/24", dual: bool = False, **more: Any
    ) -> dict[str, Any]:
        """One of the networks, with host-local addresses."""
        sets = [[{"subnet": subnet}], *([[{"subnet": "fd90::/64"}]] if dual else [])]
        pool = {"type": "host-local", "dataDir": str(self.folder), "ranges": sets}
        if network == "flannel":
            file = self.folder.parent / f"{subnet.replace('/', '-')}.env"
            file.write_text(f"FLANNEL_SUBNET={subnet}\n{LEASE}")
            more = {"subnetFile": str(file), "dataDir": str(self.folder / "flannel"), **more}
        return {"cniVersion": "1.0.0", "name": "net1", "ipam": pool, **NETWORKS[network], **more}

    def add(
        self, config: dict[str, Any], invoker: Invoker | None = None, ifname: str = "eth0"
    ) -> Result:
        caller = Caller(self.container_id, self.pod.path, ifname)
        with self.inside.entered(), new_session() as session:
            invocation = caller.invocation("ADD", config, session=session)
            return (invoker or invoker_of(config)).add(invocation)

    def delete(
        self,
        config: dict[str, Any],
        result: Result | None = None,
        invoker: Invoker | None = None,
        ifname: str = "eth0",
    ) -> None:
        caller = Caller(self.container_id, self.pod.path, ifname)
        with self.inside.entered():
            (invoker or invoker_of(config)).delete_one(caller.invocation("DEL", config, result))

    def left(self, *, before_del: bool = False) -> list[str]:
        """What is here and was not at first, except for what all containers share.

        *before_del*: a failed ADD of flannel leaves its file for the DEL.
        """
        spared = (*SHARED, *(["/flannel/container1"] if before_del else []))
        lines = self.empty.difference(self.node.state(str(self.folder)))
        return [line for line in lines if not any(each in line for each in spared)]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    node, pod = Node.create("linkhost"), Netns.create("linkpod")
    folder = tmp_path / "networks"
    folder.mkdir()
    try:
        # iptables never takes its tables away again; the host has them from the beginning.
        for program in ("iptables", "ip6tables"):
            for change in ("-A", "-D"):
                node.run(program, "-t", "nat", change, "POSTROUTING", "-j", "ACCEPT")
        for at in range(2):  # devices to move
            node.ip("link", "add", f"card{at}", "type", "veth", "peer", "name", f"far{at}")
        with Namespace(node.path) as inside:
            yield Host(node, pod, inside, folder, node.state(str(folder)))
    finally:
        pod.remove()
        node.remove()
