from __future__ import annotations

from multus_invoker_vlans import multus_invoker

from multus.testing.offers import require_offered


def test_every_key_is_served_and_an_unknown_one_is_left_to_the_binary() -> None:
    require_offered(
        multus_invoker,
        {"type": "macvlan", "master": "eth0", "mode": "bridge", "mac": "02:00:00:00:00:01"},
        {"type": "ipvlan", "master": "eth0", "mode": "l2", "mtu": 1400, "ipam": {}},
        {"type": "vlan", "master": "eth0", "vlanId": 5, "linkInContainer": True},
        {"type": "dummy", "ipam": {}},
    )
