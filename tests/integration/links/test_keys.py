"""Keys of links: those that older releases lack, and what names something unusable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kernel import require_kernel

from integration.links.conftest import invoker_of
from multus.api.errors import InvalidConfig, KernelRefused

if TYPE_CHECKING:
    from integration.links.conftest import Host


@pytest.mark.parametrize("key", ["portIsolation", "enabledad", "disableContainerInterface"])
def test_what_a_key_asks_for_is_there_and_passes_check(host: Host, key: str) -> None:
    down = key == "disableContainerInterface"
    config = {**host.config("bridge", dual=True, isGateway=False, ipMasq=False), key: True}
    if down:
        del config["ipam"]
    result = host.add(config)
    (port,) = _ports(host)
    assert port["linkinfo"]["info_slave_data"]["isolated"] is (key == "portIsolation")
    accept = "/proc/sys/net/ipv6/conf/eth0/accept_dad"
    assert down or host.pod.run("cat", accept).strip() == ("1" if key == "enabledad" else "0")
    assert host.pod.links()["eth0"].up is not down
    with host.inside.entered():
        invoker_of(config).check(host.caller.invocation("CHECK", config, result))
    host.delete(config, result)
    assert (host.left(), host.pod.links()) == ([], {})


def _ports(host: Host) -> list[Any]:
    return list(host.node.ip("-details", "link", "show", "master", "br0"))


def test_an_empty_trunk_makes_a_bridge_that_looks_at_vlans(host: Host) -> None:
    require_kernel("VLAN filter")
    config = host.config("bridge", ipMasq=False, vlanTrunk=[])
    result = host.add(config)
    shown = host.node.ip("-details", "link", "show", "br0")
    assert shown[0]["linkinfo"]["info_data"]["vlan_filtering"] == 1
    host.delete(config, result)


@pytest.mark.parametrize(
    ("network", "key", "value"),
    [
        ("macvlan", "master", "lo"),
        ("macvlan", "master", "card1"),  # a port of a bridge
        ("host-device", "device", "lo"),
        ("host-device", "device", "br9"),
        ("bridge", "bridge", "all"),
        ("bridge", "bridge", "default"),
    ],
)
def test_an_interface_that_cannot_serve_is_named_by_its_key(
    host: Host, network: str, key: str, value: str
) -> None:
    host.node.run("ip", "link", "add", "br9", "type", "bridge")
    host.node.run("ip", "link", "set", "card1", "master", "br9")
    before = host.left()
    config = {**host.config(network), key: value}
    with pytest.raises(InvalidConfig) as caught:
        host.add(config)
    assert f"'{key}'" in str(caught.value) and value in str(caught.value)
    assert caught.value.fix
    assert (host.left(), host.pod.links()) == (before, {})
    host.delete(config)


@pytest.mark.parametrize("fails", [False, True], ids=["DEL", "an ADD that fails"])
def test_the_rules_of_a_network_go_also_when_another_one_has_the_same_address(
    host: Host, fails: bool
) -> None:
    pairs = {"10.90.0.9/24": "10.90.0.1", "FD90::9/64": "fd90::1"}
    given = [{"address": each, "gateway": gateway} for each, gateway in pairs.items()]
    ipam = {"type": "static", "addresses": given}
    config = host.config("ptp", ipMasqBackend="iptables")
    first, second = ({**config, "name": name, "ipam": ipam} for name in ("one", "two"))
    before = host.left()
    result = host.add(first)
    if fails:
        # Its route to the container is the first one's.
        with pytest.raises(KernelRefused):
            host.add(second, ifname="net1")
    else:
        other = {**second, "type": "bridge", "bridge": "br0"}
        host.delete(other, host.add(other, ifname="net1"), ifname="net1")
    host.delete(first, result)
    assert host.left() == before
