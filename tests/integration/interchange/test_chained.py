"""Chained plugins: each side checks and undoes what the other one did, and both do alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kernel import require_kernel

from integration.interchange.test_ptp import config_of

if TYPE_CHECKING:
    from integration.interchange.conftest import Both, Json, Place, Side

RATES = {"ingressRate": 1_000_000, "egressRate": 2_000_000}
BURSTS = {"ingressBurst": 800_000, "egressBurst": 1_600_000}

#: Configurations of chained plugins, by what they are about.
CHAINED: dict[str, Json] = {
    "sbr": {"type": "sbr"},
    "vrf": {"type": "vrf", "vrfname": "red"},
    "vrf with a table": {"type": "vrf", "vrfname": "red", "table": 1000},
    "bandwidth": {"type": "bandwidth", **RATES, **BURSTS},
    "bandwidth of the runtime": {
        "type": "bandwidth",
        # What kubelet and containerd send: the largest burst, which does not fit the kernel's.
        "runtimeConfig": {"bandwidth": {**RATES, **dict.fromkeys(BURSTS, 2**31 - 1)}},
    },
    "bandwidth of one direction": {
        "type": "bandwidth",
        "ingressRate": 2**36,
        "ingressBurst": 2**20,
    },
}


@pytest.fixture(params=CHAINED)
def config(request: pytest.FixtureRequest) -> Json:
    config = {"cniVersion": "1.0.0", "name": "chained", **CHAINED[request.param]}
    require_kernel(config["type"])
    return config


def test_both_do_alike_and_either_checks_and_undoes_the_others(
    both: Both, ours: Side, config: Json
) -> None:
    networks: dict[str, tuple[Place, Json, Json]] = {}

    def attach(place: Place) -> Json:
        """A bridge network with addresses of both families, and a route by another gateway."""
        network = config_of(place, "static", "dual", type="bridge", name="chained")
        network["ipam"]["addresses"].append({"address": "10.91.0.9/24"})
        network["ipam"]["routes"].append({"dst": "10.200.0.0/16", "gw": "10.91.0.5"})
        if config["type"] == "vrf":
            del network["ipam"]["routes"]  # releases of the reference before 1.2 lose them
        networks[place.pod.path] = (place, network, ours.add(place, network))
        return networks[place.pod.path][2]

    attached = both.attach(lambda _: config, attach)
    both.require_alike(attached)
    both.exchange(attached)
    for each in attached:
        assert list(each.place.pod.links()) == ["eth0"]
        for version in ("-4", "-6"):
            rules = each.place.pod.ip(version, "rule")
            assert {rule["src"] for rule in rules} == {"all"}
    for place, network, result in networks.values():
        ours.delete(place, network, result)
        assert [line for line in place.left() if "cni0" not in line] == []
