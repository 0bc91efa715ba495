from __future__ import annotations

from multus_invoker_bridge import multus_invoker

from multus.testing.offers import require_offered


def test_every_key_is_served_and_an_unknown_one_is_left_to_the_binary() -> None:
    require_offered(
        multus_invoker,
        {
            "type": "bridge",
            "bridge": "cni0",
            "ipam": {},
            "mtu": 1400,
            "vlan": 5,
            "vlanTrunk": [{"id": 7}],
            "ipMasqBackend": "nftables",
            **dict.fromkeys(("isGateway", "isDefaultGateway", "forceAddress", "ipMasq"), True),
            **dict.fromkeys(("hairpinMode", "promiscMode", "macspoofchk", "enabledad"), True),
            **dict.fromkeys(("portIsolation", "preserveDefaultVlan"), True),
            "disableContainerInterface": True,
        },
    )
