"""Throw-away network namespaces, and what is in them.

A test never touches the machine's own network: a ``Node`` is a namespace that plays the host, and
pods are namespaces beside it.  What is in them is read through `multus.netlink.inventory`.  Needs
root (of a user namespace at least), iproute2 to make namespaces, and pyroute2 to read them.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.netlink import Namespace
from multus.testing.command import output

if TYPE_CHECKING:
    from multus.netlink.inventory import Inventory
    from multus.netlink.links import Link

_FOLDER = "/run/netns"

#: ``RTPROT_KERNEL``: a route that the kernel made by itself.
_RTPROT_KERNEL = 2

#: Files that stay by design when nothing is attached: host-local's two, and Multus' lock.
_KEPT = ("lock", "last_reserved_ip.")


@frozen
class Netns:
    """A named network namespace."""

    name: str

    @classmethod
    def create(cls, prefix: str = "pod") -> Netns:
        """A new namespace with a unique name; its loopback is up."""
        netns = cls(f"{prefix}-{secrets.token_hex(4)}")
        output(["ip", "netns", "add", netns.name])
        netns.ip("link", "set", "lo", "up")
        return netns

    @property
    def path(self) -> str:
        """What a runtime puts into ``CNI_NETNS``."""
        return f"{_FOLDER}/{self.name}"

    def command(self, argv: Sequence[str]) -> list[str]:
        """*argv* as it has to be started to run in here."""
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def ip(self, *args: str) -> Any:
        """What ``ip -json ARGS`` says in here: decoded, None when it says nothing."""
        out = output(["ip", "-n", self.name, "-details", "-json", *args])
        return json.loads(out) if out.strip() else None

    def run(self, *argv: str) -> str:
        """The standard output of a command run in here; ``CommandFailed`` when it fails."""
        return output(self.command(argv))

    def links(self) -> dict[str, Link]:
        """Every link but loopback, by name."""
        with self.inventory() as there:
            return {link.name: link for link in there.links() if link.name != "lo"}

    def addresses(self, ifname: str) -> list[str]:
        """The addresses of a link in CIDR form, without those that IPv6 makes up by itself."""
        with self.inventory() as there:
            return _addresses(there).get(ifname, [])

    @contextmanager
    def inventory(self) -> Iterator[Inventory]:
        """All that is in here: links, addresses, routes, rules, firewall."""
        from multus.netlink import inventory

        with Namespace(self.path) as namespace, inventory.opened(namespace) as there:
            yield there

    def remove(self) -> None:
        """Remove it, with every link in it; one that is gone is no error."""
        if os.path.exists(self.path):
            output(["ip", "netns", "del", self.name])


@frozen
class Node(Netns):
    """A namespace that plays the host: with ``uplink``, a link that a macvlan can sit on."""

    @classmethod
    def create(cls, prefix: str = "node") -> Node:
        netns = Netns.create(prefix)
        node = cls(netns.name)
        # One end plays the card, the other the wire; fixed addresses keep snapshots comparable.
        card, wire = ("address", "02:00:00:00:00:01"), ("address", "02:00:00:00:00:02")
        node.ip("link", "add", "uplink", *card, "type", "veth", "peer", "name", "wire", *wire)
        node.ip("link", "set", "wire", "up")
        node.ip("link", "set", "uplink", "up")
        return node

    def bridge(self, name: str, address: str) -> None:
        """Add a bridge with a gateway *address*, which the bridge plugin would leave behind."""
        node_id = secrets.token_bytes(5).hex(":")
        self.ip("link", "add", name, "address", f"02:{node_id}", "type", "bridge")
        self.ip("address", "add", address, "dev", name)
        self.ip("link", "set", name, "up")

    def state(self, *folders: str) -> HostState:
        """What an attachment could leave behind here, and the files under *folders*."""
        return HostState.of(self, folders)


@contextmanager
def inside(netns: Netns) -> Iterator[None]:
    """Let the calling thread, and what it starts, work in *netns* for a while."""
    with Namespace(netns.path) as namespace, namespace.entered():
        yield


@frozen
class HostState:
    """A host's links, addresses, routes, rules and files, one line of text for each."""

    facts: Mapping[str, int]

    @classmethod
    def of(cls, netns: Netns, folders: Sequence[str] = ()) -> HostState:
        """Take a snapshot."""
        with netns.inventory() as there:
            lines = [
                *_links(there),
                *_routes(there),
                *_policies(there),
                *_firewall(there),
                *_files(folders),
            ]
        return cls(Counter(lines))

    def difference(self, later: HostState) -> list[str]:
        """What *later* has more (``+ …``) and less (``- …``) than this; empty when all is equal."""
        before, after = Counter(self.facts), Counter(later.facts)
        more = [f"+ {fact}" for fact in (after - before).elements()]
        less = [f"- {fact}" for fact in (before - after).elements()]
        return sorted(more) + sorted(less)


def _addresses(there: Inventory) -> dict[str, list[str]]:
    """Addresses by the name of their link, without those that IPv6 makes up by itself."""
    names = {link.index: link.name for link in there.links()}
    found: dict[str, list[str]] = {}
    for each in there.addresses():
        if not each.address.startswith("fe80:") and each.index in names:
            found.setdefault(names[each.index], []).append(each.address)
    return found


def _links(there: Inventory) -> Iterator[str]:
    links, addresses = there.links(), _addresses(there)
    names = {link.index: link.name for link in links}
    for link in links:
        if link.name != "lo":
            master = f" master {names.get(link.master, link.master)}" if link.master else ""
            yield f"link {link.name} {link.mac} mtu {link.mtu}{master}"
            yield from (f"address {link.name} {each}" for each in addresses.get(link.name, ()))


def _routes(there: Inventory) -> Iterator[str]:
    names = {link.index: link.name for link in there.links()}
    for route in there.routes():
        # The kernel adds and removes these by itself, some time after a link went up.
        by_itself = route.destination.startswith(("fe80:", "ff00:"))
        if not by_itself and route.protocol != _RTPROT_KERNEL:
            yield (
                f"route {route.destination} via {route.gateway or '-'} dev"
                f" {names.get(route.index, '-')} table {route.table} metric {route.priority}"
                f" kind {route.kind}"
            )


def _policies(there: Inventory) -> Iterator[str]:
    for rule in there.rules():
        yield f"rule IPv{rule.family} {rule.priority} to table {rule.table}: {rule.text}"


def _firewall(there: Inventory) -> Iterator[str]:
    """Tables, chains, sets and rules of nftables, those of iptables-nft included."""
    for each in there.firewall():
        place = " / ".join(part for part in (each.table, each.chain, each.name) if part)
        yield f"firewall {each.kind} {each.family} {place}: {each.text} {each.comment}".rstrip()


def _files(folders: Sequence[str]) -> Iterator[str]:
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                if not name.strip(".:").startswith(_KEPT):
                    yield f"file {os.path.join(parent, name)}"
