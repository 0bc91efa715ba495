from __future__ import annotations

from multus_invoker_tuning import multus_invoker

from multus.testing.offers import require_offered


def test_every_key_is_served_and_an_unknown_one_is_left_to_the_binary() -> None:
    require_offered(
        multus_invoker,
        {
            "type": "tuning",
            "mac": "02:00:00:00:00:01",
            "sysctl": {},
            "dataDir": "/run/cni/tuning",
            **dict.fromkeys(("mtu", "txQLen"), 1400),
            **dict.fromkeys(("promisc", "allmulti"), True),
        },
    )
