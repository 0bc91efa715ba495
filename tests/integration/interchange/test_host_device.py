"""Each side can check and return the device that the other moved, and both move alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from integration.interchange.conftest import differences
from integration.interchange.test_ptp import FAMILIES, WAYS, config_of
from multus.api.errors import CheckFailed, KernelRefused
from multus.netlink import Namespace, links

if TYPE_CHECKING:
    from integration.interchange.conftest import Json, Place, Side

#: The device: one end of a veth, whose MAC is known.
MAC = "02:00:00:00:00:77"


@pytest.fixture(autouse=True)
def _device(place: Place) -> None:
    card(place)


def card(place: Place) -> None:
    place.node.ip("link", "add", "card0", "address", MAC, "type", "veth", "peer", "name", "far0")
    place.node.ip("link", "set", "far0", "up")


def device(place: Place, kind: str = "static", family: str = "IPv4", **more: Any) -> Json:
    named = more or {"device": "card0"}
    return config_of(place, kind, family, **{"type": "host-device", **named})


def home(place: Place) -> links.Link | None:
    with Namespace(place.node.path) as host, host.channel() as channel:
        return links.find(channel, "card0")


def is_home(place: Place, aliases: tuple[str, ...] = ("",)) -> bool:
    """Whether the device is on the host as it was: with its name, and without an alias."""
    link = home(place)
    return link is not None and (link.name, link.mac) == ("card0", MAC) and link.alias in aliases


@pytest.mark.parametrize(
    ("kind", "family", "named"),
    [
        ("host-local", "dual", {"device": "card0"}),
        ("static", "IPv4", {"hwaddr": MAC.replace(":", "-")}),
    ],
)
@pytest.mark.parametrize(("first", "second"), WAYS)
def test_what_one_moved_the_other_checks_and_returns(
    place: Place,
    sides: dict[str, Side],
    first: str,
    second: str,
    kind: str,
    family: str,
    named: Json,
) -> None:
    config = device(place, kind, family, **named)
    result = sides[first].add(place, config)
    assert home(place) is None
    assert len(place.pod.addresses("eth0")) == len(FAMILIES[family])
    sides[second].check(place, config, result)
    sides[second].delete(place, config, result)
    assert place.pod.links() == {}
    assert is_home(place, aliases=("", "card0"))  # some releases of the reference leave it
    sides["ours"].delete(place, config, result)
    assert is_home(place)
    assert [line for line in place.left() if "card0" not in line and "far0" not in line] == []


@pytest.mark.parametrize("with_ipam", [True, False])
def test_both_move_alike(
    new_place: Callable[[], Place], sides: dict[str, Side], with_ipam: bool
) -> None:
    shown = []
    for side in sides.values():
        place = new_place()
        card(place)
        config = device(place)
        if not with_ipam:
            del config["ipam"]
        result = side.add(place, config)
        (eth0,) = place.pod.ip("link", "show", "eth0")
        facts = [eth0["ifalias"], eth0["address"], eth0["mtu"], "UP" in eth0["flags"]]
        routes = [route["dst"] for route in place.pod.ip("-4", "route", "show")]
        moved = (place.comparable(result), facts, place.pod.addresses("eth0"), routes)
        side.delete(place, config, result)
        link = home(place)
        shown.append((moved, link is not None and (link.name, link.up, link.mac, link.mtu)))
    assert list(differences(shown[0], shown[1])) == []


def test_an_alternative_name_names_a_device_too(place: Place, ours: Side) -> None:
    place.node.ip("link", "property", "add", "dev", "card0", "altname", "a-device-of-this-host")
    config = device(place, device="a-device-of-this-host")
    result = ours.add(place, config)
    ours.delete(place, config, result)
    assert is_home(place)


@pytest.mark.parametrize("taken", [False, True])
def test_a_device_that_was_renamed_in_the_container_is_returned(
    place: Place, ours: Side, taken: bool
) -> None:
    config = device(place)
    result = ours.add(place, config)
    place.pod.ip("link", "set", "eth0", "down")
    # An older kernel renames only a link that is down.
    place.pod.ip("link", "set", "eth0", "name", "renamed")
    if taken:
        place.pod.ip("link", "add", "eth0", "alias", "card1", "type", "bridge")
    with pytest.raises(CheckFailed):
        ours.check(place, config, result)
    ours.delete(place, config, result)
    assert is_home(place)


@pytest.mark.parametrize("alias", ["", "x" * 200, "a/b"])
def test_a_device_that_lost_its_alias_is_returned_if_its_name_is_known(
    place: Place, ours: Side, alias: str
) -> None:
    config = device(place)
    result = ours.add(place, config)
    place.pod.ip("link", "set", "eth0", "alias", alias)
    ours.delete(place, config, result)
    assert is_home(place)
    config = device(place, hwaddr=MAC)
    result = ours.add(place, config)
    place.pod.ip("link", "set", "eth0", "alias", alias)
    with pytest.raises(KernelRefused, match="lost its alias"):
        ours.delete(place, config, result)


def test_a_name_that_is_taken_on_the_host_is_an_error_of_del(place: Place, ours: Side) -> None:
    config = device(place)
    result = ours.add(place, config)
    place.node.ip("link", "add", "card0", "type", "bridge")
    with pytest.raises(KernelRefused, match="another interface card0"):
        ours.delete(place, config, result)
    place.node.ip("link", "delete", "card0")
    ours.delete(place, config, result)
    assert is_home(place)


@pytest.mark.parametrize("named", [{"device": "card0"}, {"hwaddr": MAC}])
@pytest.mark.parametrize("name", ["eth0", "dev7"])
def test_a_device_that_the_kernel_returned_gets_its_name_back(
    place: Place, ours: Side, named: Json, name: str
) -> None:
    """As a real device at the end of a namespace: with its alias, and its name in the container."""
    config = device(place, **named)
    result = ours.add(place, config)
    place.pod.ip("link", "set", "eth0", "netns", place.node.name, "name", name)
    place.pod.remove()
    ours.delete(place, config, result)
    assert is_home(place)


def test_an_alias_that_is_not_ours_stays(place: Place, ours: Side) -> None:
    place.node.ip("link", "set", "card0", "alias", "to_the_rack")
    config = device(place)
    ours.delete(place, config)
    place.pod.remove()
    ours.delete(place, config)
    link = home(place)
    assert link is not None and link.alias == "to_the_rack"
