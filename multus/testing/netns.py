"""Throw-away network namespaces, and what is in them.

A test never touches the machine's own network: a ``Node`` is a namespace that plays the host, and
pods are namespaces beside it.  Needs root (of a user namespace at least) and iproute2.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from multus.testing.command import output

_FOLDER = "/run/netns"

#: <linux/sched.h>
_CLONE_NEWNET = 0x40000000

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

    def links(self) -> dict[str, dict[str, Any]]:
        """Every link but loopback: ``ip -json address`` objects by name."""
        found = self.ip("address", "show") or []
        return {link["ifname"]: link for link in found if link["ifname"] != "lo"}

    def addresses(self, ifname: str) -> list[str]:
        """The addresses of a link in CIDR form, without those that IPv6 makes up by itself."""
        link = self.links().get(ifname, {})
        return [
            f"{each['local']}/{each['prefixlen']}"
            for each in link.get("addr_info", [])
            if "local" in each and not each["local"].startswith("fe80:")
        ]

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
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        other = os.open(netns.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(other)
        finally:
            os.close(other)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)


def _enter(descriptor: int) -> None:
    # os.setns came with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


@frozen
class HostState:
    """A host's links, addresses, routes, rules and files, one line of text for each."""

    facts: Mapping[str, int]

    @classmethod
    def of(cls, netns: Netns, folders: Sequence[str] = ()) -> HostState:
        """Take a snapshot."""
        lines = [
            *_links(netns),
            *_routes(netns),
            *_policies(netns),
            *_firewall(netns),
            *_files(folders),
        ]
        return cls(Counter(lines))

    def difference(self, later: HostState) -> list[str]:
        """What *later* has more (``+ …``) and less (``- …``) than this; empty when all is equal."""
        before, after = Counter(self.facts), Counter(later.facts)
        more = [f"+ {fact}" for fact in (after - before).elements()]
        less = [f"- {fact}" for fact in (before - after).elements()]
        return sorted(more) + sorted(less)


def _links(netns: Netns) -> Iterator[str]:
    for name, link in netns.links().items():
        master = f" master {link['master']}" if "master" in link else ""
        yield f"link {name} {link.get('address', '')} mtu {link['mtu']}{master}"
        yield from (f"address {name} {address}" for address in netns.addresses(name))


def _routes(netns: Netns) -> Iterator[str]:
    for family in ("-4", "-6"):
        for route in netns.ip(family, "route", "show", "table", "all") or []:
            # The kernel adds and removes these by itself, some time after a link went up.
            if route["dst"].startswith(("fe80:", "ff00:")) or route.get("protocol") == "kernel":
                continue
            kept = ("type", "dst", "gateway", "dev", "table", "metric")
            yield f"route {' '.join(str(route[key]) for key in kept if key in route)}"


def _policies(netns: Netns) -> Iterator[str]:
    for family in ("-4", "-6"):
        for rule in netns.ip(family, "rule", "show") or []:
            yield f"rule {family} {json.dumps(rule, sort_keys=True)}"


def _firewall(netns: Netns) -> Iterator[str]:
    """The nftables ruleset, iptables-nft's included, each line with the table and chain around."""
    if not _installed("nft"):
        return
    around: list[str] = []
    for line in netns.run("nft", "--stateless", "list", "ruleset").splitlines():
        text = line.strip()
        if text.endswith("{"):
            around.append(text[:-1].strip())
        elif text == "}":
            yield f"firewall {' / '.join(around)}"
            around.pop()
        elif text:
            yield f"firewall {' / '.join(around)} / {text}"


def _files(folders: Sequence[str]) -> Iterator[str]:
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                if not name.strip(".:").startswith(_KEPT):
                    yield f"file {os.path.join(parent, name)}"


def _installed(program: str) -> bool:
    folders = (*os.get_exec_path(), "/usr/sbin", "/sbin")
    return any(os.access(os.path.join(folder, program), os.X_OK) for folder in folders)
