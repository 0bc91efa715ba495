"""Each side can check and detach the other's attachments, and both attach alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from multus.api.errors import CNIError
from multus.testing.runtime import CallFailed

if TYPE_CHECKING:
    from integration.interchange.conftest import Json, Place, Side

WAYS = [("ours", "reference"), ("reference", "ours")]

FAMILIES = {
    "IPv4": [("10.91.0.0/24", "10.91.0.7/24", "10.91.0.1", "0.0.0.0/0")],
    "IPv6": [("fd91::/64", "fd91::7/64", "fd91::1", "::/0")],
    "dual": [
        ("10.91.0.0/24", "10.91.0.7/24", "10.91.0.1", "0.0.0.0/0"),
        ("fd91::/64", "fd91::7/64", "fd91::1", "::/0"),
    ],
}


def config_of(place: Place, kind: str, family: str, **more: Any) -> Json:
    """A ptp configuration with IPAM of this kind, for these families, each with a default route."""
    sets = FAMILIES[family]
    routes = [{"dst": default} for _, _, _, default in sets]
    pool: Json = {"type": kind, "routes": routes}
    if kind == "host-local":
        pool["ranges"] = [[{"subnet": subnet}] for subnet, _, _, _ in sets]
        pool["dataDir"] = str(place.folder)
    else:
        pool["addresses"] = [{"address": own, "gateway": via} for _, own, via, _ in sets]
    return {"cniVersion": "1.0.0", "name": "interchange", "type": "ptp", "ipam": pool, **more}


@pytest.fixture(params=["host-local", "static"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["plain", "masquerading"])
def masquerading(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize(("first", "second"), WAYS)
def test_what_one_attached_the_other_checks_and_takes_down(
    place: Place,
    sides: dict[str, Side],
    first: str,
    second: str,
    kind: str,
    family: str,
    masquerading: bool,
) -> None:
    config = config_of(place, kind, family, ipMasq=masquerading)
    result = sides[first].add(place, config)
    assert len(place.pod.addresses("eth0")) == len(FAMILIES[family])
    assert len(place.left()) > 0
    sides[second].check(place, config, result)
    sides[second].delete(place, config, result)
    assert place.left() == []
    assert place.pod.links() == {}
    sides[first].delete(place, config, result)
    assert place.left() == []


def test_both_attach_alike(
    new_place: Callable[[], Place],
    sides: dict[str, Side],
    kind: str,
    family: str,
    masquerading: bool,
) -> None:
    shown = []
    for side in sides.values():
        place = new_place()
        config = config_of(place, kind, family, ipMasq=masquerading, mtu=1400)
        result = side.add(place, config)
        rules = [line for line in place.left() if line.startswith("+ firewall")]
        shown.append((place.comparable(result), place.seen(), rules))
        side.delete(place, config, result)
    (our_result, our_seen, our_rules), (their_result, their_seen, their_rules) = shown
    assert our_result == their_result
    for netns, facts in their_seen.items():
        for what, theirs in facts.items():
            assert (netns, what, our_seen[netns][what]) == (netns, what, theirs)
    assert our_rules == their_rules
    assert bool(our_rules) is masquerading


@pytest.mark.parametrize(
    "more",
    [
        {"routes": [{"dst": "10.200.0.0/16", "gw": "10.91.0.1"}, {"dst": "0.0.0.0/0"}]},
        {"routes": [{"dst": "10.200.0.0/16", "gw": "10.91.0.9"}]},
        {"routes": []},
    ],
    ids=["two routes", "a route by another gateway", "no route"],
)
def test_both_attach_alike_with_other_routes(
    new_place: Callable[[], Place], sides: dict[str, Side], more: dict[str, Any]
) -> None:
    shown = []
    for side in sides.values():
        place = new_place()
        config = config_of(place, "host-local", "IPv4")
        config["ipam"] |= more
        shown.append((place.comparable(side.add(place, config)), place.seen()))
    assert shown[0] == shown[1]


@pytest.mark.parametrize("version", ["0.2.0", "0.3.1", "0.4.0"])
def test_both_attach_alike_in_older_versions(
    new_place: Callable[[], Place], sides: dict[str, Side], version: str
) -> None:
    shown = []
    for side in sides.values():
        place = new_place()
        config = config_of(place, "host-local", "dual", mtu=1300) | {"cniVersion": version}
        shown.append(place.comparable(side.add(place, config)))
        side.delete(place, config)
        assert place.left() == []
    assert shown[0] == shown[1]


def test_both_report_the_same_resolver(
    new_place: Callable[[], Place], sides: dict[str, Side]
) -> None:
    dns = {
        "nameservers": ["10.91.0.1"],
        "domain": "example",
        "search": ["a", "b"],
        "options": ["x"],
    }
    shown = []
    for side in sides.values():
        place = new_place()
        config = config_of(place, "static", "IPv4", dns=dns)
        config["ipam"]["dns"] = {"nameservers": ["192.0.2.1"]}
        shown.append(side.add(place, config)["dns"])
    assert shown == [dns, dns]


@pytest.mark.parametrize(("first", "second"), WAYS)
def test_the_other_takes_down_without_the_result(
    place: Place, sides: dict[str, Side], first: str, second: str, masquerading: bool
) -> None:
    config = config_of(place, "host-local", "IPv4", ipMasq=masquerading)
    sides[first].add(place, config)
    sides[second].delete(place, config)
    assert place.left() == []


@pytest.mark.parametrize("change", ["address", "link", "route", "file"])
def test_neither_passes_what_is_broken(place: Place, sides: dict[str, Side], change: str) -> None:
    config = config_of(place, "host-local", "IPv4")
    result = sides["ours"].add(place, config)
    if change == "address":
        place.pod.ip("address", "flush", "dev", "eth0")
    elif change == "link":
        place.pod.ip("link", "delete", "eth0")
    elif change == "route":
        place.pod.ip("route", "delete", "default")
    else:
        (place.folder / "interchange" / "10.91.0.2").unlink()
    for side in sides.values():
        with pytest.raises((CNIError, CallFailed)):
            side.check(place, config, result)
