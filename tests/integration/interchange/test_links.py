"""Each side can check and detach the other's links of every kind, and both attach alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from kernel import require_kernel

from integration.interchange.test_ptp import FAMILIES, config_of
from multus.api.errors import CNIError
from multus.testing.runtime import CallFailed

if TYPE_CHECKING:
    from integration.interchange.conftest import Both, Json, Place, Side

#: Configurations, by what they are about.
LINKS: Mapping[str, Json] = {
    "ptp": {"type": "ptp", "mtu": 1400},
    "ptp with rules": {"type": "ptp", "ipMasq": True},
    "macvlan": {"type": "macvlan", "master": "uplink", "mode": "private", "mtu": 1400},
    "ipvlan": {"type": "ipvlan", "master": "uplink", "mode": "l3"},
    "vlan": {"type": "vlan", "master": "uplink", "vlanId": 100, "mtu": 1400},
    "dummy": {"type": "dummy"},
    "bridge": {"type": "bridge", "bridge": "br0", "promiscMode": True},
    "bridge as gateway": {"type": "bridge", "bridge": "br0", "isDefaultGateway": True, "mtu": 1400},
    "bridge with rules": {
        "type": "bridge",
        "bridge": "br0",
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": True,
    },
}
#: How addresses are given: each kind of IPAM, and each family alone and both.
POOLS = [("host-local", "IPv4"), ("static", "IPv6"), ("host-local", "dual")]


@pytest.fixture(params=LINKS)
def network(request: pytest.FixtureRequest) -> Json:
    """A configuration without addresses."""
    config = LINKS[request.param]
    require_kernel(config["type"])
    return config


@pytest.mark.parametrize(("kind", "family"), POOLS)
def test_both_attach_alike_and_either_checks_and_detaches_the_others(
    both: Both, network: Json, kind: str, family: str
) -> None:
    attached = both.attach(lambda place: _with_addresses(place, network, kind, family))
    for each in attached:
        assert len(each.place.pod.addresses("eth0")) == len(FAMILIES[family])
    both.require_alike(attached)
    both.exchange(attached)
    for each in attached:
        assert each.place.pod.links() == {}
        assert [line for line in each.place.left() if "br0" not in line] == []


def _with_addresses(place: Place, network: Json, kind: str, family: str) -> Json:
    config = config_of(place, kind, family, **network)
    if config.get("isDefaultGateway"):
        config["ipam"]["routes"] = []  # the reference refuses a second default route
    return config


@pytest.mark.parametrize(
    "asked",
    [
        {"runtimeConfig": {"mac": "02:00:00:00:00:55"}},
        {"args": {"cni": {"mac": "02:00:00:00:00:56"}}},
    ],
    ids=["runtimeConfig", "args"],
)
@pytest.mark.parametrize("kind", ["bridge", "macvlan"])
def test_both_honour_a_requested_mac(both: Both, kind: str, asked: Json) -> None:
    more = {"master": "uplink"} if kind == "macvlan" else {}
    shown = []
    for each in both.attach(
        lambda place: config_of(place, "static", "IPv4", type=kind, **more, **asked)
    ):
        mac = next(link["mac"] for link in each.result["interfaces"] if link.get("sandbox"))
        assert each.place.pod.links()["eth0"].mac == mac
        shown.append(mac if mac.startswith("02:00:00:00:00") else "another")
    assert shown[0] == shown[1]


@pytest.mark.parametrize("kind", ["bridge", "macvlan"])
def test_both_attach_without_addresses(both: Both, kind: str) -> None:
    config = {"cniVersion": "1.0.0", "name": "layer2", "type": kind}
    if kind == "macvlan":
        config["master"] = "uplink"
    attached = both.attach(lambda _: config)
    both.require_alike(attached)
    for each in attached:  # CHECK of the reference bridge fails without addresses
        each.other.delete(each.place, each.config, each.result)
        assert each.place.pod.links() == {}


#: What somebody may have changed since ADD, by what it is.
CHANGES: Mapping[str, Callable[[Place], object]] = {
    "address": lambda place: place.pod.ip("address", "flush", "dev", "eth0"),
    "link": lambda place: place.pod.ip("link", "delete", "eth0"),
    "route": lambda place: place.pod.ip("route", "delete", "default"),
    "file": lambda place: (place.folder / "interchange" / "10.91.0.2").unlink(),
    "bridge": lambda place: place.node.ip("link", "delete", "br0"),
}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (name, change)
        for name in ("ptp", "bridge as gateway", "macvlan")
        for change in CHANGES
        if change != "bridge" or name.startswith("bridge")
    ],
)
def test_neither_passes_what_is_broken(
    place: Place, sides: dict[str, Side], name: str, change: str
) -> None:
    config: Any = _with_addresses(place, LINKS[name], "host-local", "IPv4")
    result = sides["ours"].add(place, config)
    CHANGES[change](place)
    for side in sides.values():
        with pytest.raises((CNIError, CallFailed)):
            side.check(place, config, result)
