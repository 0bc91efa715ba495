"""The environment of the reliability tests: a node, pods, real plugins, and the node's state."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import field, frozen
from reliability.moments import Family, as_one, start

from multus.api.jsontext import encode
from multus.cni import skel
from multus.engine.assembly import engine_for
from multus.netlink import Message, Namespace, addresses, links, routes
from multus.testing.delegates import BinDir
from multus.testing.netns import HostState, Netns, Node, inside
from multus.testing.runtime import Container
from multus.testing.sriov import Card

Conf = Mapping[str, Any]

_SEARCH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
_EXECUTED = ("bridge", "macvlan", "ptp", "tuning")
_OURS = ("invoker", "ipMasqBackend")
_KERNEL = 2  # RTPROT_KERNEL
_GETADDR, _GETRULE = 22, 34

#: Files that stay by design: locks, and host-local's last reserved address.
_STAYS = (".lock", "lock", "last_reserved_ip", ".iptables")


@frozen
class Ground:
    """A node and its folders; the calling thread is in the node's namespace."""

    node: Node
    bin: BinDir
    folder: str
    pods: dict[str, Netns] = field(factory=dict)
    cards: list[Card] = field(factory=list)

    @property
    def cni_dir(self) -> str:
        return f"{self.folder}/multus"

    @property
    def ipam_dir(self) -> str:
        return f"{self.folder}/ipam"

    @property
    def tuning_dir(self) -> str:
        return f"{self.folder}/tuning"

    @property
    def flannel_dir(self) -> str:
        return f"{self.folder}/flannel"

    def container(self, name: str, ifname: str = "eth0") -> Container:
        """A container with its own namespace, created on first use."""
        if name not in self.pods:
            self.pods[name] = Netns.create("pod")
        return Container(self.pods[name].path, name, ifname, "IgnoreUnknown=1")

    def conf(self, *delegates: Conf, **keys: Any) -> Conf:
        return {
            "cniVersion": "1.1.0",
            "name": "node",
            "type": "multus",
            "binDir": self.bin.path,
            "cniDir": self.cni_dir,
            "logToStderr": False,
            "delegates": list(delegates),
            **keys,
        }

    def ipam(self, number: int, second: int | None = None) -> Conf:
        """IPAM with a network's own addresses, of both families with *second*."""
        ranges = [[{"subnet": f"10.{number}.0.0/24"}]]
        if second is not None:
            ranges.append([{"subnet": f"fd00:{second}::/64"}])
        route = [{"dst": f"10.200.{number}.0/24", "gw": f"10.{number}.0.1"}]
        return {
            "type": "host-local",
            "dataDir": self.ipam_dir,
            "ranges": ranges,
            "routes": route,
        }

    def in_process(self) -> Conf:
        """Four in-process networks: iptables, nftables, plain, and both families."""
        every: list[dict[str, Any]] = [
            {"name": "masq", "type": "ptp", "ipMasq": True, "ipam": self.ipam(1)},
            {"name": "nft", "type": "ptp", "ipMasq": True, "ipam": self.ipam(2)},
            {"name": "plain", "type": "ptp", "ipam": self.ipam(3)},
            {"name": "dual", "type": "ptp", "mtu": 1400, "ipam": self.ipam(4, 4)},
        ]
        every[1]["ipMasqBackend"] = "nftables"
        return self.conf(*every)

    def everyday(self) -> Conf:
        """Three networks of the in-process plugins of every day, two of them chains."""
        bridge = {"type": "bridge", "bridge": "cni5", "isDefaultGateway": True, "ipMasq": True}
        tuning = {"type": "tuning", "dataDir": self.tuning_dir, "mtu": 1400, "promisc": True}
        tuning |= {"mac": "02:00:00:00:05:01", "sysctl": {"net.core.somaxconn": "500"}}
        portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
        macvlan = {"type": "macvlan", "master": "uplink", "ipam": self.ipam(7)}
        nftables = {"bridge": "cni6", "ipMasqBackend": "nftables"}
        plugins = [{**bridge, "ipam": self.ipam(5)}, tuning, portmap]
        ports = [{"hostPort": 8080, "containerPort": 80, "protocol": "udp"}]
        return self.conf(
            {"name": "chain", "plugins": plugins},
            {"name": "flannel", **self.flannel(6), "delegate": nftables},
            {"name": "macvlan", "plugins": [macvlan, {"type": "sbr"}]},
            runtimeConfig={"portMappings": ports},
        )

    def tagged(self) -> Conf:
        """Two in-process networks of one bridge, each in a VLAN of its own."""
        bridge = {"type": "bridge", "bridge": "cni5", "isGateway": True}
        trunk = [{"minID": 20, "maxID": 29}]
        return self.conf(
            {**bridge, "name": "five", "vlan": 5, "ipam": self.ipam(5)},
            {**bridge, "name": "six", "vlan": 6, "vlanTrunk": trunk, "ipam": self.ipam(6)},
        )

    def moved(self, device: str = "card0") -> Conf:
        """A device of the host that moves to the container, and an in-process network."""
        if device not in self.node.links():
            peer = ("peer", "name", f"far-{device}")
            self.node.ip("link", "add", device, "type", "veth", *peer)
        every: list[dict[str, Any]] = [
            {"name": "masq", "type": "ptp", "ipMasq": True, "ipam": self.ipam(1)},
            {"name": "moved", "type": "host-device", "device": device, "ipam": self.ipam(10)},
        ]
        return self.conf(*every)

    def executed(self) -> Conf:
        """Four networks of executed plugins, one of them a chain, one of them with ipMasq."""
        bridge = {"type": "bridge", "bridge": "br0", "ipMasq": False, "ipam": self.ipam(5)}
        tuning = {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}
        every: list[dict[str, Any]] = [
            {"name": "chain", "plugins": [bridge, tuning]},
            {"name": "gomasq", "type": "ptp", "ipMasq": True, "ipam": self.ipam(6)},
            {"name": "macvlan", "type": "macvlan", "master": "uplink", "ipam": self.ipam(7)},
            {"name": "goptp", "type": "ptp", "ipam": self.ipam(8)},
        ]
        return self.conf(*every, invokers=dict.fromkeys(_EXECUTED, "exec"))

    def mixed(self) -> Conf:
        """Four networks, half of them of executed plugins."""
        every: list[dict[str, Any]] = [
            {"name": "masq", "type": "ptp", "ipMasq": True, "ipam": self.ipam(1)},
            {"name": "br", "type": "bridge", "bridge": "br0", "ipam": self.ipam(5)},
            {"name": "plain", "type": "ptp", "ipam": self.ipam(3)},
            {"name": "goptp", "type": "ptp", "ipam": self.ipam(8)},
        ]
        for executed in (every[1], every[3]):
            executed["invoker"] = "exec"
        return self.conf(*every)

    def delegating(self) -> Conf:
        """Two networks of flannel, by a bridge and by ptp, and the loopback."""
        every: list[dict[str, Any]] = [
            {"name": "bridged", "delegate": {"bridge": "cni0"}, **self.flannel(11)},
            {"name": "routed", "delegate": {"type": "ptp"}, **self.flannel(12)},
            {"name": "lo", "type": "loopback"},
        ]
        return self.conf(*every)

    def binaries_know(self) -> Conf:
        """Two in-process networks that this machine's binaries can delete too."""
        bridge = {"type": "bridge", "bridge": "cni5", "isGateway": True, "ipMasq": True}
        tuning = {"type": "tuning", "dataDir": self.tuning_dir, "mtu": 1400}
        macvlan = {"name": "macvlan", "type": "macvlan", "master": "uplink", "ipam": self.ipam(7)}
        plugins = [{**bridge, "ipMasqBackend": "iptables", "ipam": self.ipam(5)}, tuning]
        return self.conf({"name": "chain", "plugins": plugins}, macvlan)

    def flannel(self, number: int) -> Conf:
        """Keys of a network of flannel with its own addresses."""
        lease = f"{self.folder}/subnet{number}.env"
        with open(lease, "w", encoding="ascii") as file:
            file.write(
                f"FLANNEL_NETWORK=10.{number}.0.0/16\nFLANNEL_SUBNET=10.{number}.1.1/24\n"
                "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"
            )
        return {
            "type": "flannel",
            "subnetFile": lease,
            "dataDir": self.flannel_dir,
            "ipam": {"dataDir": self.ipam_dir},
        }

    def virtual_functions(self) -> Conf:
        """Three VFs of a simulated card, one for DPDK, and an in-process network."""
        card = Card.build(f"{self.folder}/sys", self.node, pf=f"p{secrets.token_hex(3)}", vfs=6)
        card.install_plugin(f"{self.folder}/site")
        sys.path.insert(0, f"{self.folder}/site")
        self.cards.append(card)
        _write_as_one()
        drivers = {"kernel_driver": "iavf", "dpdk_driver": "vfio-pci"}
        vf = {"type": "sriov", "if0": card.pf, "cniDir": f"{self.folder}/sriov"}
        every: list[dict[str, Any]] = [
            {"name": "masq", "type": "ptp", "ipMasq": True, "ipam": self.ipam(1)},
            {**vf, "name": "layer2", "vlan": 210, "if0name": "north", "l2enable": True},
            {**vf, "name": "layer3", "vlan": 5, "ipam": self.ipam(9)},
            {**vf, "name": "dpdk", "dpdk": drivers, "vlan": 6},
        ]
        return self.conf(*every)

    # --- Calls -----------------------------------------------------------------------------------

    def call(
        self, command: str, conf: Conf, container: Container | None = None
    ) -> tuple[int, bytes]:
        """One call by the engine in this process: exit status and standard output."""
        return skel.answer(self.environ(command, container), encode(conf), engine_for)

    def done(self, command: str, conf: Conf, container: Container | None = None) -> bytes:
        """The same; it has to succeed."""
        status, stdout = self.call(command, conf, container)
        assert status == 0, f"{command} of {container}: {stdout.decode()}"
        return stdout

    def delete_directly(self, conf: Conf, container: Container) -> None:
        """DEL with the delegates' own binaries, without Multus; ignores their answers."""
        for index, delegate in reversed(list(enumerate(conf["delegates"]))):
            ifname = f"net{index - 1}" if index else container.ifname
            environ = {**self.environ("DEL", container), "CNI_IFNAME": ifname}
            for plugin in reversed(delegate.get("plugins", [delegate])):
                config = {key: plugin[key] for key in plugin if key not in _OURS}
                stdin = encode({**config, "cniVersion": "1.0.0", "name": delegate["name"]})
                path = os.path.join(self.bin.path, plugin["type"])
                subprocess.run([path], input=stdin, env=environ, capture_output=True, check=False)

    def supervised(self, command: str, conf: Conf, container: Container | None = None) -> Family:
        """The same call in its own process, which can be killed at every step."""
        environ, stdin = self.environ(command, container), encode(conf)

        def call() -> int:
            status, stdout = skel.answer(environ, stdin, engine_for)
            os.write(1, stdout)
            return status

        return start(call)

    def environ(self, command: str, container: Container | None) -> dict[str, str]:
        named = container.environ() if container else {}
        return {"PATH": _SEARCH, "CNI_COMMAND": command, "CNI_PATH": self.bin.path, **named}

    def collecting(self, conf: Conf, valid: Sequence[Container]) -> Conf:
        """*conf* with the keys for GC."""
        entries = [{"containerID": each.id, "ifname": each.ifname} for each in valid]
        return {**conf, "cni.dev/valid-attachments": entries}

    # --- The node's state ------------------------------------------------------------------------

    def state(self) -> HostState:
        """Links, addresses, routes and rules of node and pods, the node's firewall, all files."""
        facts: list[str] = []
        for name, netns in {"node": self.node, **self.pods}.items():
            with Namespace(netns.path) as namespace:
                facts += [f"{name}: {fact}" for fact in _network(namespace)]
        facts += _firewall()
        own = (self.tuning_dir, self.flannel_dir, f"{self.folder}/sriov")
        folders = (self.cni_dir, self.ipam_dir, *own)
        facts += [path for folder in folders for path in _files(folder)]
        facts += [fact for card in self.cards for fact in _card(card, self.node)]
        return HostState(Counter(facts))


@contextmanager
def ground(folder: str) -> Iterator[Ground]:
    """Make a node, enter it, and remove it afterwards."""
    node = Node.create()
    try:
        node.bridge("br0", "10.5.0.1/24")
        bins = BinDir(f"{folder}/bin").real()
        made = Ground(node, bins, folder)
        with inside(node):
            try:
                yield made
            finally:
                for pod in made.pods.values():
                    pod.remove()
                if made.cards:
                    sys.path.remove(f"{folder}/site")
    finally:
        node.remove()


def _network(namespace: Namespace) -> Iterator[str]:
    with namespace.channel() as channel:
        found = links.list_all(channel)
        names = {link.index: link.name for link in found}
        for link in found:
            master = names.get(link.master, "")
            text = f"{master} {link.alias}"
            yield f"link {link.name} {link.mac} mtu {link.mtu} up {link.up} {text}"
        for body in channel.dump(Message(_GETADDR, 0, bytes(8), "list addresses")):
            each = addresses.read(body)
            if not each.address.startswith("fe80:"):
                yield f"address {each.address} of {names.get(each.index)}"
        for route in routes.list_all(channel):
            # The kernel adds and removes its own routes some time after a link goes up.
            if route.protocol != _KERNEL and not route.destination.startswith(("fe80:", "ff00:")):
                dev = names.get(route.index)
                yield f"route {route.destination} via {route.gateway} dev {dev} in {route.table}"
        for family in (socket.AF_INET, socket.AF_INET6):
            head = bytes([family]) + bytes(11)
            for body in channel.dump(Message(_GETRULE, 0, head, "list rules")):
                yield f"rule {body.hex()}"


def _write_as_one() -> None:
    """Make a write to the simulated sysfs and its effect one moment, as in the kernel."""
    plain = Card.sysfs
    if hasattr(plain, "as_one"):
        return

    def sysfs(card: Card, kind: type[Any]) -> Any:
        made = plain(card, kind)
        write = type(made).write

        def as_one_write(*arguments: str) -> None:
            with as_one():
                write(*arguments)

        type(made).write = as_one_write
        return made

    # The function is replaced on purpose, and marked, so that it is replaced only once.
    sysfs.as_one = True  # type: ignore[attr-defined]
    Card.sysfs = sysfs  # type: ignore[method-assign,assignment]


def _card(card: Card, node: Node) -> Iterator[str]:
    """A card's sysfs, and the last settings of each of its VFs."""
    for parent, folders, names in os.walk(card.root):
        for name in (*folders, *names):
            path = os.path.join(parent, name)
            if os.path.islink(path):
                yield f"sysfs {path} -> {os.readlink(path)}"
            elif not name.endswith((".messages", "bind", "drivers_probe")):
                yield f"sysfs {path} {_contents(path)}"
    with Namespace(node.path) as namespace, namespace.channel() as channel:
        pf = links.find(channel, card.pf)
    assert pf is not None
    yield f"VFs {card.port.ask(pf.index).hex()}"


def _contents(path: str) -> str:
    if os.path.isdir(path):
        return ""
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def _firewall() -> list[str]:
    command = ["nft", "--stateless", "list", "ruleset"]
    listed = subprocess.run(command, capture_output=True, check=True, env={"PATH": _SEARCH})
    around: list[str] = []
    facts: list[str] = []
    for line in listed.stdout.decode().splitlines():
        text = line.strip()
        if text.endswith("{"):
            around.append(text[:-1].strip())
        elif text == "}":
            facts.append(f"firewall {' / '.join(around)}")
            around.pop()
        elif text:
            facts.append(f"firewall {' / '.join(around)} / {text}")
    return facts


def _files(folder: str) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        for name in names:
            if not name.startswith(_STAYS) and not name.endswith(".lock"):
                path = os.path.join(parent, name)
                yield f"{'file' if os.path.getsize(path) else 'empty file'} {path}"
