"""UDP connections to a port are forgotten, also by a kernel that cannot choose them itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from socket import AF_INET, AF_INET6, SOCK_DGRAM, socket

import pytest
from kernel import require_nftables

from multus.netlink import Transport, conntrack, nftables
from multus.testing.faults import Damaging
from multus.testing.netns import Node, inside

FAMILIES = {AF_INET: "127.0.0.1", AF_INET6: "::1"}


@pytest.fixture
def node() -> Iterator[Node]:
    require_nftables()
    node = Node.create("track")
    node.ip("link", "set", "lo", "up")
    # Something has to ask for connections to be tracked.
    node.run(
        "nft", "add table inet ask; add chain inet ask in { type filter hook input priority 0; }"
    )
    node.run("nft", "add rule inet ask in ct state new accept")
    yield node
    node.remove()


def tracked(node: Node) -> list[int]:
    """The ports that UDP connections were opened to."""
    lines = node.run("cat", "/proc/self/net/nf_conntrack").splitlines()
    return sorted(int(line.split("dport=")[1].split()[0]) for line in lines if " udp " in line)


@pytest.mark.parametrize("able", [True, False], ids=["by one message", "one by one"])
def test_connections_to_these_ports_are_forgotten(node: Node, able: bool) -> None:
    with inside(node), ExitStack() as stack:
        for family, address in FAMILIES.items():
            for port in (4001, 4002, 4003):
                server = stack.enter_context(socket(family, SOCK_DGRAM))
                server.bind((address, port))
                client = stack.enter_context(socket(family, SOCK_DGRAM))
                client.sendto(b"x", (address, port))
                assert server.recv(10) == b"x"
        assert tracked(node) == [4001, 4001, 4002, 4002, 4003, 4003]
        with nftables.channel(Transport if able else Damaging.at(0)) as channel:
            conntrack.forget_udp(channel, [4001, 4003])
        assert tracked(node) == [4002, 4002]
        with nftables.channel() as channel:
            conntrack.forget_udp(channel, [4001])
