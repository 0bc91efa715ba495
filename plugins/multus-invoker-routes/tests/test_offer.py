"""Which configurations are served in-process."""

from __future__ import annotations

from typing import Any

import multus_invoker_routes
import pytest

from multus.api.conf import Conf
from multus.api.invoker import Declined, Invoker
from multus.api.network import Delegate, Plugin

CONF = Conf.from_wire({"name": "multus", "cniVersion": "1.0.0"})
COMMON = {"name": "n", "cniVersion": "1.0.0", "capabilities": {}, "runtimeConfig": {}, "dns": {}}
EVERY_KEY = [
    {"type": "vrf", "vrfname": "red", "table": 7},
    {"type": "sbr", "table": 7, "gateways": [], "addSourceHints": True},
]


def offered(config: dict[str, Any]) -> Invoker | Declined | None:
    plugin = Plugin({**COMMON, **config})
    delegate = Delegate("n", (plugin,), "1.0.0")
    return multus_invoker_routes.multus_invoker(plugin, delegate, CONF)


@pytest.mark.parametrize("config", EVERY_KEY, ids=lambda config: config["type"])
def test_it_is_offered_with_every_key_that_it_has(config: dict[str, Any]) -> None:
    offer = offered(config)
    assert isinstance(offer, Invoker)
    assert offer.name == config["type"]


@pytest.mark.parametrize("config", EVERY_KEY, ids=lambda config: config["type"])
def test_a_key_that_is_not_known_is_left_to_others_and_named(config: dict[str, Any]) -> None:
    offer = offered({**config, "shapedSubnets": []})
    assert isinstance(offer, Declined)
    assert "'shapedSubnets'" in offer.reason


def test_other_types_are_left_to_others() -> None:
    assert offered({"type": "bridge"}) is None
