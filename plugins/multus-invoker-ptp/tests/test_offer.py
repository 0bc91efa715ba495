from __future__ import annotations

from typing import Any

import multus_invoker_ptp
import pytest

from multus.api.conf import Conf
from multus.api.invoker import Declined, Invoker
from multus.api.network import Delegate, Plugin

CONF = Conf.from_wire({"name": "multus", "cniVersion": "1.0.0"})
EVERY_KEY = {
    "type": "ptp",
    "name": "n",
    "cniVersion": "1.0.0",
    "ipam": {},
    "ipMasq": True,
    "ipMasqBackend": "nftables",
    "mtu": 1400,
    "dns": {},
    "capabilities": {"ips": True},
    "args": {},
    "runtimeConfig": {},
}


def offered(config: dict[str, Any]) -> Invoker | Declined | None:
    plugin = Plugin(config)
    return multus_invoker_ptp.multus_invoker(plugin, Delegate("n", (plugin,), "1.0.0"), CONF)


def test_ptp_is_offered_with_every_key_that_it_has() -> None:
    offer = offered(EVERY_KEY)
    assert isinstance(offer, Invoker)
    assert offer.name == "ptp"


def test_a_key_that_is_not_known_is_left_to_others_and_named() -> None:
    offer = offered({**EVERY_KEY, "hairpinMode": True})
    assert isinstance(offer, Declined)
    assert "hairpinMode" in offer.reason


@pytest.mark.parametrize("kind", ["bridge", "macvlan", "PTP", "ptp2"])
def test_another_type_is_not_its_business(kind: str) -> None:
    assert offered({**EVERY_KEY, "type": kind}) is None
