"""The key macspoofchk of bridge: the same rules by both, and they drop what they should."""

from __future__ import annotations

import re
from collections.abc import Callable
from socket import AF_INET, SOCK_DGRAM, socket
from typing import TYPE_CHECKING

import pytest

from integration.interchange.test_ptp import WAYS, config_of
from multus.api.errors import CheckFailed
from multus.netlink import Namespace

if TYPE_CHECKING:
    from integration.interchange.conftest import Json, Ours, Place, Side

GATEWAY = "10.91.0.1"


def guarded(place: Place) -> Json:
    """A bridge network whose pod may only use its own hardware address."""
    more = {"bridge": "br0", "isGateway": True, "macspoofchk": True}
    return config_of(place, "static", "IPv4", type="bridge", **more)


def rules(place: Place) -> str:
    """The rules of bridges, as nft prints them, without random values."""
    text = place.node.run("nft", "list", "ruleset", "bridge")
    return re.sub(r"veth[0-9a-f]{8}|(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", "X", text)


@pytest.mark.parametrize(("first", "second"), WAYS)
def test_what_one_guards_the_other_checks_and_removes(
    place: Place, sides: dict[str, Side], first: str, second: str
) -> None:
    config = guarded(place)
    for _ in range(2):  # the table stays, and is used again
        result = sides[first].add(place, config)
        sides[second].check(place, config, result)
        sides[second].delete(place, config, result)
        assert place.pod.links() == {}
        assert "cni-br-iface" not in rules(place)
        sides[first].delete(place, config, result)


def test_both_guard_alike(new_place: Callable[[], Place], sides: dict[str, Side]) -> None:
    shown = []
    for side in sides.values():
        place = new_place()
        result = side.add(place, guarded(place))
        attached = rules(place)
        side.delete(place, guarded(place), result)
        shown.append((attached, rules(place)))
    assert shown[0] == shown[1]


def test_frames_from_another_address_are_dropped(place: Place, sides: dict[str, Side]) -> None:
    config = guarded(place)
    result = sides["ours"].add(place, config)
    own = place.pod.links()["eth0"].mac
    with Namespace(place.node.path) as host, host.entered():
        server = socket(AF_INET, SOCK_DGRAM)
        server.bind((GATEWAY, 0))
    with Namespace(place.pod.path) as pod, pod.entered():
        client = socket(AF_INET, SOCK_DGRAM)
    with server, client:
        server.settimeout(10)
        # Addresses of neighbours are known: the first packet is not lost to a look-up.
        where, there = server.getsockname(), place.node.links()["br0"].mac
        place.pod.ip("neighbour", "replace", GATEWAY, "lladdr", there, "dev", "eth0")
        for mac, said in ((own, b"own"), ("02:00:00:00:00:66", b"another"), (own, b"own again")):
            place.pod.ip("link", "set", "eth0", "address", mac)
            place.pod.ip("neighbour", "replace", GATEWAY, "lladdr", there, "dev", "eth0")
            client.sendto(said, where)
        assert [server.recv(100), server.recv(100)] == [b"own", b"own again"]
    sides["ours"].delete(place, config, result)


def test_missing_rules_are_found_and_stale_ones_collected(place: Place, ours: Ours) -> None:
    config = guarded(place)
    result = ours.add(place, config)
    with Namespace(place.node.path) as host, host.entered():
        invocation = place.caller.invocation("GC", config, valid=[place.caller])
        invoker = ours.invoker(invocation)
        before = rules(place)
        invoker.gc(invocation)
        assert rules(place) == before
        ours.check(place, config, result)
        place.pod.ip("link", "delete", "eth0")
        invoker.gc(place.caller.invocation("GC", config, valid=[]))
    assert "cni-br-iface" not in rules(place)
    ours.delete(place, config, result)
    result = ours.add(place, config)
    place.node.run("nft", "flush", "chain", "bridge", "nat", "PREROUTING")
    with pytest.raises(CheckFailed, match="macspoofchk"):
        ours.check(place, config, result)
