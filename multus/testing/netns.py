"""Temporary network namespaces, and snapshots of their content.

A test never touches the machine's own network: a ``Node`` is a namespace that stands for the host,
and pods are namespaces beside it.  `multus.netlink.inventory` reads their content.  Needs root (at
least of a user namespace), iproute2 to create namespaces, and pyroute2 to read them.
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

#: ``RTPROT_KERNEL``: a route that the kernel created.
_RTPROT_KERNEL = 2

#: Files that remain by design when nothing is attached: two of host-local, Multus' lock, and what
#: it knows of this machine's iptables.
_KEPT = ("lock", "last_reserved_ip.", "iptables")


@frozen
class Netns:
    """A named network namespace."""

    name: str

    @classmethod
    def create(cls, prefix: str = "pod") -> Netns:
        """Create a namespace with a unique name; its loopback is up."""
        netns = cls(f"{prefix}-{secrets.token_hex(4)}")
        output(["ip", "netns", "add", netns.name])
        netns.ip("link", "set", "lo", "up")
        return netns

    @property
    def path(self) -> str:
        """Its path, for ``CNI_NETNS``."""
        return f"{_FOLDER}/{self.name}"

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs *argv* in this namespace."""
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def ip(self, *args: str) -> Any:
        """The decoded output of ``ip -json ARGS`` in this namespace, None when it is empty."""
        out = output(["ip", "-n", self.name, "-details", "-json", *args])
        return json.loads(out) if out.strip() else None

    def run(self, *argv: str) -> str:
        """Run a command in here; returns its standard output; raises ``CommandFailed``."""
        return output(self.command(argv))

    def links(self) -> dict[str, Link]:
        """All links except loopback, by name."""
        with self.inventory() as there:
            return {link.name: link for link in there.links() if link.name != "lo"}

    def addresses(self, ifname: str) -> list[str]:
        """The addresses of a link in CIDR form, without automatic IPv6 addresses."""
        with self.inventory() as there:
            return _addresses(there, there.links()).get(ifname, [])

    @contextmanager
    def inventory(self) -> Iterator[Inventory]:
        """The content: links, addresses, routes, rules, firewall."""
        from multus.netlink import inventory

        with Namespace(self.path) as namespace, inventory.opened(namespace) as there:
            yield there

    def remove(self) -> None:
        """Remove it with all its links; does nothing when it is already gone."""
        if os.path.exists(self.path):
            output(["ip", "netns", "del", self.name])


@frozen
class Node(Netns):
    """A namespace that stands for the host; its ``uplink`` can be the master of a macvlan."""

    @classmethod
    def create(cls, prefix: str = "node") -> Node:
        netns = Netns.create(prefix)
        node = cls(netns.name)
        # One end is the card, the other the wire; fixed addresses keep snapshots comparable.
        card, wire = ("address", "02:00:00:00:00:01"), ("address", "02:00:00:00:00:02")
        node.ip("link", "add", "uplink", *card, "type", "veth", "peer", "name", "wire", *wire)
        node.ip("link", "set", "wire", "up")
        node.ip("link", "set", "uplink", "up")
        return node

    def bridge(self, name: str, address: str) -> None:
        """Add a bridge with a gateway *address*; the bridge plugin never removes its bridge."""
        node_id = secrets.token_bytes(5).hex(":")
        self.ip("link", "add", name, "address", f"02:{node_id}", "type", "bridge")
        self.ip("address", "add", address, "dev", name)
        self.ip("link", "set", name, "up")

    def state(self, *folders: str) -> HostState:
        """A snapshot of everything that an attachment could leak here and under *folders*."""
        return HostState.of(self, folders)


@contextmanager
def inside(netns: Netns) -> Iterator[None]:
    """Run the calling thread and its children in *netns* within the block."""
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
            links = there.links()
            lines = [
                *_links(there, links),
                *_routes(there, links),
                *_policies(there),
                *_firewall(there),
                *_files(folders),
            ]
        return cls(Counter(lines))

    def difference(self, later: HostState) -> list[str]:
        """The lines that *later* adds (``+ …``) and lacks (``- …``); empty when both are equal."""
        before, after = Counter(self.facts), Counter(later.facts)
        more = [f"+ {fact}" for fact in (after - before).elements()]
        less = [f"- {fact}" for fact in (before - after).elements()]
        return sorted(more) + sorted(less)


def _addresses(there: Inventory, links: Sequence[Link]) -> dict[str, list[str]]:
    """Addresses by link name, without automatic IPv6 addresses."""
    names = {link.index: link.name for link in links}
    found: dict[str, list[str]] = {}
    for each in there.addresses():
        if not each.address.startswith("fe80:") and each.index in names:
            found.setdefault(names[each.index], []).append(each.address)
    return found


def _links(there: Inventory, links: Sequence[Link]) -> Iterator[str]:
    addresses = _addresses(there, links)
    names = {link.index: link.name for link in links}
    for link in links:
        if link.name != "lo":
            master = f" master {names.get(link.master, link.master)}" if link.master else ""
            alias = f" alias {link.alias}" if link.alias else ""
            yield f"link {link.name} {link.mac} mtu {link.mtu}{master}{alias}"
            yield from (f"address {link.name} {each}" for each in addresses.get(link.name, ()))


def _routes(there: Inventory, links: Sequence[Link]) -> Iterator[str]:
    names = {link.index: link.name for link in links}
    for route in there.routes():
        # The kernel adds and removes these some time after a link went up.
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
    """Tables, chains, sets and rules of nftables and iptables."""
    for each in there.firewall():
        place = " / ".join(part for part in (each.table, each.chain, each.name) if part)
        yield f"firewall {each.kind} {each.family} {place}: {each.text} {each.comment}".rstrip()


def _files(folders: Sequence[str]) -> Iterator[str]:
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                if not name.strip(".:").startswith(_KEPT):
                    yield f"file {os.path.join(parent, name)}"
