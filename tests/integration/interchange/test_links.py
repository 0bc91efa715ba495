"""Each side can check and detach the other's links of every kind, and both attach alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from integration.interchange.test_ptp import FAMILIES, WAYS, config_of
from multus.api.errors import CNIError
from multus.testing.command import CommandFailed
from multus.testing.runtime import CallFailed

if TYPE_CHECKING:
    from integration.interchange.conftest import Json, Place, Side

#: Configurations, by what they are about.
LINKS: Mapping[str, Json] = {
    "macvlan": {"type": "macvlan", "master": "uplink", "mode": "private", "mtu": 1400},
    "macvlan, defaults": {"type": "macvlan", "master": "uplink"},
    "ipvlan": {"type": "ipvlan", "master": "uplink", "mode": "l3"},
    "vlan": {"type": "vlan", "master": "uplink", "vlanId": 100, "mtu": 1400},
    "dummy": {"type": "dummy"},
    "bridge": {"type": "bridge", "bridge": "br0"},
    "bridge as gateway": {"type": "bridge", "bridge": "br0", "isDefaultGateway": True, "mtu": 1400},
    "bridge with its options": {
        "type": "bridge",
        "bridge": "br0",
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": True,
    },
    "promiscuous bridge": {"type": "bridge", "bridge": "br0", "promiscMode": True},
}
#: Numbers that the kernel counts up, and the places of links that it numbers.
_VOLATILE = {
    *("ifindex", "link_index", "gc_timer", "hello_timer", "tcn_timer", "topology_change_timer"),
    *("bridge_id", "root_id", "root_port", "designated_bridge", "designated_root", "id", "no"),
    *("port_id", "port_no", "forward_delay_timer", "hold_timer", "message_age_timer"),
}
#: IPv6 on these waits for duplicate address detection, two seconds at each side.
_SLOW = ("macvlan", "ipvlan", "vlan")


def _cases() -> list[Any]:
    return [
        pytest.param(name, kind, family, id=f"{name}-{kind}-{family}")
        for name, config in LINKS.items()
        for kind, family in (("host-local", "IPv4"), ("host-local", "dual"), ("static", "IPv6"))
        if family == "IPv4" or config["type"] not in _SLOW or (name, family) == ("macvlan", "dual")
    ]


def link_config(place: Place, kind: str, family: str, name: str) -> Json:
    """The configuration of this name, with IPAM of this kind for these families."""
    config = config_of(place, kind, family, **LINKS[name])
    if config.get("isDefaultGateway"):
        config["ipam"]["routes"] = []  # the reference refuses a second default route
    return config


@pytest.fixture(autouse=True)
def _kernel(place: Place, request: pytest.FixtureRequest) -> None:
    """Skip kinds of link that this kernel does not have."""
    name = request.node.callspec.params.get("name", "bridge")
    kind = LINKS[name]["type"]
    if kind in ("ipvlan", "vlan", "dummy"):
        more = {"ipvlan": ["link", "uplink"], "vlan": ["link", "uplink"], "dummy": []}[kind]
        extra = ["id", "7"] if kind == "vlan" else []
        try:
            place.node.ip("link", "add", *more, "name", "probe", "type", kind, *extra)
        except CommandFailed:
            pytest.skip(f"this kernel lacks a kind of link ({kind})")
        place.node.ip("link", "delete", "probe")


@pytest.mark.parametrize(("name", "kind", "family"), _cases())
@pytest.mark.parametrize(("first", "second"), WAYS)
def test_what_one_attached_the_other_checks_and_detaches(
    place: Place,
    sides: dict[str, Side],
    first: str,
    second: str,
    name: str,
    kind: str,
    family: str,
) -> None:
    config = link_config(place, kind, family, name)
    result = sides[first].add(place, config)
    assert len(place.pod.addresses("eth0")) == len(FAMILIES[family])
    sides[second].check(place, config, result)
    sides[second].delete(place, config, result)
    assert place.pod.links() == {}
    sides[first].delete(place, config, result)
    assert [line for line in place.left() if "br0" not in line] == []


@pytest.mark.parametrize(("name", "kind", "family"), _cases())
def test_both_attach_alike(
    new_place: Callable[[], Place], sides: dict[str, Side], name: str, kind: str, family: str
) -> None:
    shown = []
    for side in sides.values():
        place = new_place()
        config = link_config(place, kind, family, name)
        result = side.add(place, config)
        rules = [line for line in place.left() if line.startswith("+ firewall")]
        shown.append((place.comparable(result), place.seen(), rules))
        side.delete(place, config, result)
    assert list(differences(shown[0], shown[1])) == []


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Where two facts differ, without counters and timers of bridges."""
    if path.rpartition(".")[2] in _VOLATILE or ours == theirs:
        return
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in sorted(ours.keys() | theirs.keys()):
            yield from differences(ours.get(key), theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list | tuple) and len(ours) == len(theirs):
        for at, (our, their) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(our, their, f"{path}.{at}")
    else:
        yield f"{path}: ours {ours!r}, theirs {theirs!r}"


@pytest.mark.parametrize(
    "asked",
    [
        {"runtimeConfig": {"mac": "02:00:00:00:00:55"}},
        {"args": {"cni": {"mac": "02:00:00:00:00:56"}}},
    ],
    ids=["runtimeConfig", "args"],
)
@pytest.mark.parametrize("kind", ["bridge", "macvlan"])
def test_both_honour_a_requested_mac(
    new_place: Callable[[], Place], sides: dict[str, Side], kind: str, asked: Json
) -> None:
    shown = []
    for side in sides.values():
        place = new_place()
        config = config_of(place, "static", "IPv4", type=kind, master="uplink", **asked)
        if kind == "bridge":
            del config["master"]
        result = side.add(place, config)
        mac = next(each["mac"] for each in result["interfaces"] if each.get("sandbox"))
        assert place.pod.links()["eth0"].mac == mac
        shown.append(mac if mac.startswith("02:00:00:00:00") else "another")
        side.delete(place, config, result)
    assert shown[0] == shown[1]


@pytest.mark.parametrize("kind", ["bridge", "macvlan"])
def test_both_attach_without_addresses(
    new_place: Callable[[], Place], sides: dict[str, Side], kind: str
) -> None:
    shown = []
    for side in sides.values():
        place = new_place()
        config = {"cniVersion": "1.0.0", "name": "layer2", "type": kind}
        if kind == "macvlan":
            config["master"] = "uplink"
        result = side.add(place, config)
        shown.append((place.comparable(result), place.seen()))
        side.delete(place, config, result)
        assert place.pod.links() == {}
    assert list(differences(shown[0], shown[1])) == []


@pytest.mark.parametrize("change", ["address", "link", "route", "file", "bridge"])
def test_neither_passes_what_is_broken(place: Place, sides: dict[str, Side], change: str) -> None:
    config = link_config(place, "host-local", "IPv4", "bridge as gateway")
    result = sides["ours"].add(place, config)
    if change == "address":
        place.pod.ip("address", "flush", "dev", "eth0")
    elif change == "link":
        place.pod.ip("link", "delete", "eth0")
    elif change == "route":
        place.pod.ip("route", "delete", "default")
    elif change == "bridge":
        place.node.ip("link", "delete", "br0")
    else:
        (place.folder / "interchange" / "10.91.0.2").unlink()
    for side in sides.values():
        with pytest.raises((CNIError, CallFailed)):
            side.check(place, config, result)
