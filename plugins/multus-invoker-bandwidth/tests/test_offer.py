from __future__ import annotations

from multus_invoker_bandwidth import multus_invoker

from multus.testing.offers import require_offered


def test_every_key_is_served_and_an_unknown_one_is_left_to_the_binary() -> None:
    require_offered(
        multus_invoker,
        {
            "type": "bandwidth",
            **dict.fromkeys(("ingressRate", "ingressBurst", "egressRate", "egressBurst"), 1),
        },
    )
