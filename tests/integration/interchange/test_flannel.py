"""flannel in-process and the reference: the same delegated configuration, in the same files."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from integration.interchange.conftest import Reference
from integration.interchange.test_ptp import WAYS
from multus.api.errors import CNIError
from multus.testing.delegates import SYSTEM_FOLDERS

if TYPE_CHECKING:
    from integration.interchange.conftest import Both, Json, Place, Side

LEASE = """\
FLANNEL_NETWORK=10.244.0.0/16,10.245.0.0/16
FLANNEL_SUBNET=10.244.3.1/24
FLANNEL_IPV6_NETWORK=fd44::/48
FLANNEL_IPV6_SUBNET=fd44:0:0:3::1/64
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
"""


def config_of(place: Place, lease: str = LEASE, **more: Any) -> Json:
    (place.folder / "subnet.env").write_text(lease)
    return {
        "cniVersion": "1.0.0",
        "name": "cbr0",
        "type": "flannel",
        "subnetFile": str(place.folder / "subnet.env"),
        "dataDir": str(place.folder / "flannel"),
        "delegate": {"hairpinMode": True, "isDefaultGateway": True, "bridge": "br0"},
        "ipam": {
            "dataDir": str(place.folder / "networks"),
            "routes": [{"dst": "192.0.2.0/24", "gw": "10.244.3.9"}],
        },
        **more,
    }


def computed_by_flannel(place: Place) -> Json:
    """What flannel 1.9 gives to bridge for ``config_of``."""
    return {
        "bridge": "br0",
        "cniVersion": "1.0.0",
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": {
            "dataDir": str(place.folder / "networks"),
            "ranges": [[{"subnet": "10.244.3.0/24"}], [{"subnet": "fd44:0:0:3::/64"}]],
            "routes": [
                {"dst": "192.0.2.0/24", "gw": "10.244.3.9"},
                {"dst": "10.244.0.0/16"},
                {"dst": "10.245.0.0/16"},
                {"dst": "fd44::/48"},
            ],
            "type": "host-local",
        },
        "isDefaultGateway": True,
        "isGateway": True,
        "mtu": 1450,
        "name": "cbr0",
        "type": "bridge",
    }


class ByBridge(Reference):
    """What flannel does, for machines without it: the binary of bridge, and flannel's file."""

    def add(self, place: Place, config: Json, previous: Json | None = None) -> Json:
        computed = computed_by_flannel(place)
        file = _file(place)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "w") as kept:
            json.dump(computed, kept)
        return super().add(place, computed)

    def check(self, place: Place, config: Json, result: Json) -> None:
        """It has none."""

    def delete(self, place: Place, config: Json, result: Json | None = None) -> None:
        file = _file(place)
        if os.path.exists(file):
            with open(file) as kept:
                super().delete(place, json.load(kept))
            os.unlink(file)


def _file(place: Place) -> str:
    return f"{place.folder}/flannel/{place.caller.container_id}"


@pytest.fixture
def reference() -> Side:
    there = any(os.access(f"{folder}/flannel", os.X_OK) for folder in SYSTEM_FOLDERS)
    return Reference() if there else ByBridge()


def left(place: Place) -> list[str]:
    """What a DEL must have removed; the bridge stays."""
    names = [*os.listdir(place.folder / "flannel"), *os.listdir(place.folder / "networks/cbr0")]
    kept = ("lock", "last_reserved_ip.0", "last_reserved_ip.1")
    lines = [each for each in place.left() if "br0" not in each and not each.startswith("+ file")]
    return [*(each for each in names if each not in kept), *lines]


@pytest.mark.parametrize(("first", "second"), WAYS)
def test_what_one_attached_the_other_checks_and_detaches(
    place: Place, sides: dict[str, Side], first: str, second: str
) -> None:
    config = config_of(place)
    result = sides[first].add(place, config)
    assert [ip["address"] for ip in result["ips"]] == ["10.244.3.2/24", "fd44:0:0:3::2/64"]
    sides[second].check(place, config, result)
    sides[second].delete(place, config, result)
    assert (place.pod.links(), left(place)) == ({}, [])
    sides[first].delete(place, config, result)
    assert left(place) == []


def test_both_attach_alike(both: Both) -> None:
    attached = both.attach(config_of)
    for each in attached:
        with open(_file(each.place)) as file:
            kept = json.load(file)
        kept.pop("multus.ifname", None)
        assert kept == computed_by_flannel(each.place)
    both.require_alike(attached)


def test_a_del_needs_neither_the_lease_nor_the_namespace(place: Place, ours: Side) -> None:
    config = config_of(place, LEASE.replace("IPMASQ=true", "IPMASQ=false"))
    result = ours.add(place, config)
    assert "MASQUERADE" in place.node.run("iptables-save", "-t", "nat")
    os.unlink(config["subnetFile"])
    place.pod.remove()
    ours.delete(place, config, result)
    assert "MASQUERADE" not in place.node.run("iptables-save", "-t", "nat")
    assert left(place) == []


def test_a_del_succeeds_without_the_file_of_its_add(place: Place, ours: Side) -> None:
    config = config_of(place, LEASE.replace("IPMASQ=true", "IPMASQ=false"))
    result = ours.add(place, config)
    os.unlink(config["subnetFile"])
    with open(_file(place), "w"):
        pass  # as a power failure may leave it
    ours.delete(place, config, result)
    assert (place.pod.links(), left(place)) == ({}, [])


def test_the_check_sees_what_the_delegated_plugin_made(place: Place, ours: Side) -> None:
    config = config_of(place)
    result = ours.add(place, config)
    ours.check(place, config, result)
    place.pod.ip("address", "delete", "10.244.3.2/24", "dev", "eth0")
    with pytest.raises(CNIError, match=r"delegated plugin 'bridge'.*10\.244\.3\.2/24"):
        ours.check(place, config, result)
    ours.delete(place, config, result)
