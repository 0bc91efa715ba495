"""A host with a bridge, a pod on it, and a client beside the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from attrs import frozen
from multus_invoker_portmap.invoker import Portmap

from multus.api.invoker import Invoker
from multus.api.result import IP, Interface, Result
from multus.netlink import Namespace
from multus.testing.invocation import Caller
from multus.testing.netns import Netns, Node
from multus.testing.session import new_session

PREFIX = {4: 24, 6: 64}


@frozen
class Place:
    """The three namespaces, and their addresses by family.

    ``gateway`` is the host's address towards the pod, ``near`` the one towards the client.
    """

    host: Node
    pod: Netns
    client: Netns
    inner: Mapping[int, str] = {4: "10.90.0.2", 6: "fd90::2"}
    gateway: Mapping[int, str] = {4: "10.90.0.1", 6: "fd90::1"}
    near: Mapping[int, str] = {4: "10.7.0.1", 6: "fd07::1"}
    outer: Mapping[int, str] = {4: "10.7.0.2", 6: "fd07::2"}

    @property
    def caller(self) -> Caller:
        return Caller("container1", self.pod.path)

    @property
    def result(self) -> Result:
        """What the plugin before returned."""
        ips = tuple(
            IP(f"{address}/{PREFIX[version]}", self.gateway[version], interface=1)
            for version, address in self.inner.items()
        )
        return Result((Interface("br0"), Interface("eth0", "", self.pod.path)), ips)

    def config(self, backend: str, *ports: tuple[int, int, str], **more: Any) -> dict[str, Any]:
        """A portmap that maps these ports of the host to those of the container."""
        mappings = [
            {"hostPort": near, "containerPort": far, "protocol": protocol}
            for near, far, protocol in ports
        ]
        known = {"cniVersion": "1.1.0", "name": "net1", "type": "portmap", "backend": backend}
        return {**known, "runtimeConfig": {"portMappings": mappings}, **more}

    def add(
        self, config: dict[str, Any], invoker: Invoker | None = None, caller: Caller | None = None
    ) -> Result:
        with Namespace(self.host.path) as host, host.entered(), new_session() as session:
            invocation = (caller or self.caller).invocation(
                "ADD", config, self.result, session=session
            )
            return (invoker or Portmap()).add(invocation)

    def check(self, config: dict[str, Any]) -> None:
        with Namespace(self.host.path) as host, host.entered():
            Portmap().check(self.caller.invocation("CHECK", config, self.result))

    def delete(
        self,
        config: dict[str, Any],
        invoker: Invoker | None = None,
        caller: Caller | None = None,
        *,
        known: bool = True,
    ) -> None:
        with Namespace(self.host.path) as host, host.entered():
            invocation = (caller or self.caller).invocation(
                "DEL", config, self.result if known else None
            )
            (invoker or Portmap()).delete_one(invocation)

    def gc(self, config: dict[str, Any], valid: list[Caller]) -> None:
        with Namespace(self.host.path) as host, host.entered():
            Portmap().gc(self.caller.invocation("GC", config, valid=valid))

    def rules(self, word: str = "container1") -> list[str]:
        """The rules of both backends that have this word."""
        lines = self.host.run("nft", "--stateless", "list", "ruleset").splitlines()
        for program in ("iptables-save", "ip6tables-save"):
            lines += self.host.run(program, "-t", "nat").splitlines()
        return [line.strip() for line in lines if word in line]


@pytest.fixture(params=["iptables", "nftables"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place() -> Iterator[Place]:
    host, pod, client = Node.create("pmhost"), Netns.create("pmpod"), Netns.create("pmclient")
    try:
        host.ip("link", "add", "br0", "type", "bridge")
        host.ip("link", "set", "br0", "up")
        made = Place(host, pod, client)
        _connect(host, pod, made.gateway, made.inner, bridge="br0")
        _connect(host, client, made.near, made.outer)
        for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            host.run("sh", "-c", f"echo 1 >/proc/sys/net/{name}")
        yield made
    finally:
        for each in (client, pod, host):
            each.remove()


def _connect(
    host: Node, other: Netns, near: Mapping[int, str], far: Mapping[int, str], bridge: str = ""
) -> None:
    """A pair between the two, with these addresses; *other* has default routes to the host."""
    name = f"v{other.name[-8:]}"
    peer = ("peer", "name", "eth0", "netns", other.name)
    host.ip("link", "add", name, "type", "veth", *peer)
    if bridge:
        host.ip("link", "set", name, "master", bridge)
        # The pod's own packets come back by the same port.
        host.ip("link", "set", name, "type", "bridge_slave", "hairpin", "on")
    for netns, link in ((host, name), (other, "eth0"), (other, "lo")):
        netns.ip("link", "set", link, "up")
    for version, address in far.items():
        more = ("nodad",) if version == 6 else ()
        there = f"{near[version]}/{PREFIX[version]}"
        host.ip("address", "add", there, "dev", bridge or name, *more)
        other.ip("address", "add", f"{address}/{PREFIX[version]}", "dev", "eth0", *more)
        other.ip("route", "add", "default", "via", near[version])
