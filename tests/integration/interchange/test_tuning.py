"""The reference tuning and the in-process one set, check and restore the same things."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from integration.interchange.test_ptp import config_of
from multus.api.errors import CNIError
from multus.testing.runtime import CallFailed

if TYPE_CHECKING:
    from integration.interchange.conftest import Both, Json, Place, Side

EVERYTHING: Json = {
    "mac": "02:00:00:00:00:77",
    "mtu": 1300,
    "promisc": True,
    "sysctl": {
        "net.ipv4.conf.eth0.arp_filter": "1",
        "net.ipv4.conf.eth0.log_martians": "1",
        "net.ipv4.ip_local_port_range": "2000\t3000",
    },
}
#: Keys that releases of the reference before 1.2 do not know.
NEWER: Json = {
    "allmulti": True,
    "txQLen": 77,
    "sysctl": {"net.ipv4.conf.IFNAME.log_martians": "1"},
}


def tuning(place: Place, **keys: object) -> Json:
    folder = str(place.folder / "tuning")
    return {"cniVersion": "1.0.0", "name": "t", "type": "tuning", "dataDir": folder, **keys}


def options(place: Place) -> tuple[object, ...]:
    """What tuning may change of the interface."""
    link = place.pod.links()["eth0"]
    return (link.mac, link.mtu, link.promiscuous, link.allmulti, link.txqlen)


def attached(place: Place, sides: dict[str, Side]) -> Json:
    """The result of a bridge network, for a tuning to follow."""
    config = config_of(place, "static", "IPv4", type="bridge")
    return sides["ours"].add(place, config)


def test_both_tune_alike_and_either_checks_and_restores_the_others(
    both: Both, sides: dict[str, Side]
) -> None:
    start: dict[str, object] = {}

    def attach(place: Place) -> Json:
        result = attached(place, sides)
        start[place.pod.path] = options(place)
        return result

    tuned = both.attach(lambda place: tuning(place, **EVERYTHING), attach)
    both.require_alike(tuned)
    kept = []
    for each in tuned:
        names = ("conf/eth0/arp_filter", "conf/eth0/log_martians", "ip_local_port_range")
        sysctls = [each.place.pod.run("cat", f"/proc/sys/net/ipv4/{name}") for name in names]
        (backup,) = (each.place.folder / "tuning").iterdir()
        kept.append((sysctls, {**json.loads(backup.read_text()), "mac": "any"}))
    assert kept[0] == kept[1]
    both.exchange(tuned)
    for each in tuned:
        assert options(each.place) == start[each.place.pod.path]
        assert list((each.place.folder / "tuning").iterdir()) == []


def test_newer_keys_are_set_and_restored(place: Place, sides: dict[str, Side]) -> None:
    before = attached(place, sides)
    start = options(place)
    config = tuning(place, **NEWER)
    sides["ours"].add(place, config, before)
    tuned = place.pod.links()["eth0"]
    assert (tuned.allmulti, tuned.txqlen) == (True, 77)
    sides["ours"].check(place, config, before)
    sides["ours"].delete(place, config, before)
    assert options(place) == start


@pytest.mark.parametrize(
    "wrong",
    [
        {"sysctl": {"kernel.hostname": "x"}},
        {"sysctl": {"net.../kernel.hostname": "x"}},
        {"mac": "no"},
        {"sysctl": {"net.ipv4.conf.eth0.nothing": "1"}},
    ],
    ids=["not of the network", "outside", "mac", "no such sysctl"],
)
def test_both_refuse(place: Place, sides: dict[str, Side], wrong: Json) -> None:
    before = attached(place, sides)
    start = options(place)
    for side in sides.values():
        with pytest.raises((CNIError, CallFailed)):
            side.add(place, tuning(place, **wrong), before)
        side.delete(place, tuning(place, **wrong), before)
        assert options(place) == start


@pytest.mark.parametrize("change", ["mtu", "sysctl"])
def test_neither_passes_what_is_changed(place: Place, sides: dict[str, Side], change: str) -> None:
    config = tuning(place, **EVERYTHING)
    result = sides["ours"].add(place, config, attached(place, sides))
    if change == "mtu":
        place.pod.ip("link", "set", "eth0", "mtu", "1400")
    else:
        place.pod.run("sh", "-c", "echo 0 >/proc/sys/net/ipv4/conf/eth0/arp_filter")
    for side in sides.values():
        with pytest.raises((CNIError, CallFailed)):
            side.check(place, config, result)
