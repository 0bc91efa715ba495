"""VRFs in a container: shared ones, errors, and DEL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kernel import require_kernel

from multus.api.errors import CheckFailed, InvalidConfig

if TYPE_CHECKING:
    from integration.chained.conftest import Chain

RED: dict[str, Any] = {"type": "vrf", "vrfname": "red"}


@pytest.fixture(autouse=True)
def _kernel() -> None:
    require_kernel("vrf")


def table(chain: Chain) -> int:
    (shown,) = chain.pod.ip("link", "show", "red")
    return int(shown["linkinfo"]["info_data"]["table"])


def test_the_interface_keeps_its_addresses_and_routes_in_the_vrf(chain: Chain) -> None:
    held = sorted(chain.pod.addresses("eth0"))
    assert chain.call("ADD", RED) == chain.before
    assert table(chain) == 1
    assert chain.routes("1")[0] == "default 10.7.0.1"
    assert sorted(chain.pod.addresses("eth0")) == held
    chain.call("CHECK", RED)


def test_interfaces_share_a_vrf_which_goes_with_the_last(chain: Chain) -> None:
    chain.pod.ip("link", "add", "net1", "type", "veth", "peer", "name", "other")
    chain.call("ADD", RED)
    chain.call("ADD", RED, ifname="net1")
    chain.call("DEL", RED)
    assert "red" in chain.pod.links()
    with pytest.raises(CheckFailed, match="eth0 is not a port of VRF red"):
        chain.call("CHECK", RED)
    for _twice in range(2):
        chain.call("DEL", RED, ifname="net1")
        assert "red" not in chain.pod.links()


def test_two_vrfs_have_different_tables(chain: Chain) -> None:
    chain.pod.ip("link", "add", "blue", "type", "vrf", "table", "1")
    chain.call("ADD", RED)
    assert table(chain) == 2


def test_del_deletes_the_vrf_when_the_interface_is_gone(chain: Chain) -> None:
    chain.call("ADD", RED)
    chain.pod.ip("link", "delete", "eth0")
    chain.call("DEL", RED)
    assert chain.pod.links() == {}
    chain.call("DEL", RED, netns="/run/netns/none")


def test_an_interface_that_has_a_master_is_refused(chain: Chain) -> None:
    chain.pod.ip("link", "add", "br0", "type", "bridge")
    chain.pod.ip("link", "set", "eth0", "master", "br0")
    with pytest.raises(InvalidConfig, match="eth0 is a port of br0 already"):
        chain.call("ADD", RED)
    chain.call("DEL", RED)
    assert set(chain.pod.links()) == {"eth0", "br0"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"vrfname": ""}, "vrfname"),
        ({"vrfname": "eth0"}, "not a VRF"),
        ({"vrfname": "blue", "table": 8}, "VRF blue has 7"),
        ({"table": -1}, "table"),
    ],
)
def test_what_is_wrong_is_named(chain: Chain, wrong: dict[str, Any], said: str) -> None:
    chain.pod.ip("link", "add", "blue", "type", "vrf", "table", "7")
    with pytest.raises(InvalidConfig, match=said):
        chain.call("ADD", {**RED, **wrong})
    chain.call("DEL", {**RED, **wrong})
    assert "eth0" in chain.pod.links()
