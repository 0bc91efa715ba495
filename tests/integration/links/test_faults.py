"""Whatever fails, and wherever the process dies: after DEL nothing is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kernel import require_kernel, require_nftables

from integration.links.conftest import NETWORKS, invoker_of
from multus.api.errors import CNIError, InvalidConfig, KernelRefused
from multus.netlink import bridges, links, open_channel, sysctl
from multus.netlink.masquerade import Owner
from multus.testing.faults import Damaging, Killing, dies

if TYPE_CHECKING:
    from integration.links.conftest import Host

#: Duplicate address detection on a macvlan and on a device takes two seconds.
CASES = [
    pytest.param(name, dual, id=f"{name}, {'dual' if dual else 'IPv4'}")
    for name in NETWORKS
    for dual in (False, True)
    if not (dual and name in ("macvlan", "bridge port", "host-device", "flannel"))
]


def messages_of_add(host: Host, config: dict[str, Any]) -> int:
    """How many messages an ADD sends; it is taken down again."""
    places = [0]
    result = host.add(config, invoker_of(config, Damaging.at(-1, places)))
    host.delete(config, result)
    return places[0]


@pytest.mark.parametrize(("network", "dual"), CASES)
def test_an_error_at_any_message_of_add_leaves_nothing(
    host: Host, network: str, dual: bool
) -> None:
    config = host.config(network, dual=dual)
    messages_of_add(host, config)  # a bridge is created once
    count = messages_of_add(host, config)
    assert count >= 5
    for target in range(count):
        with pytest.raises(KernelRefused) as caught:
            host.add(config, invoker_of(config, Damaging.at(target)))
        assert "Operation not supported" in str(caught.value)
        assert (target, host.left(before_del=True), host.pod.links()) == (target, [], {})
        host.delete(config)
        assert (target, host.left(), host.pod.links()) == (target, [], {})


@pytest.mark.parametrize(("network", "dual"), CASES)
def test_a_kill_at_any_message_of_add_leaves_nothing_after_del(
    host: Host, network: str, dual: bool
) -> None:
    config = host.config(network, dual=dual)
    messages_of_add(host, config)
    for target in range(messages_of_add(host, config)):
        add = invoker_of(config, Killing.at(target))
        assert dies(lambda add=add: host.add(config, add))  # type: ignore[misc]
        host.delete(config)
        assert (target, host.left(), host.pod.links()) == (target, [], {})


@pytest.mark.parametrize("network", NETWORKS)
def test_an_error_at_any_message_of_del_is_reported_and_del_can_be_repeated(
    host: Host, network: str
) -> None:
    config = host.config(network)
    other = host.config(network, subnet="10.92.0.0/24", name="other")
    if config["type"] == "bridge":
        other["bridge"] = "br01"
    if config["type"] == "flannel":
        other["delegate"] = {"bridge": "br01"}
    if config["type"] == "host-device":
        other["device"] = "card1"
    target, errors = 0, [object()]
    while any(errors):
        result = host.add(config)
        host.add(other, ifname="net1")
        delete = invoker_of(config, Damaging.at(target))
        with host.inside.entered():
            first = host.caller.invocation("DEL", config)
            second = type(host.caller)("container1", host.pod.path, "net1").invocation("DEL", other)
            errors = list(delete.delete([first, second]))
        if target < 4:  # two look-ups, two changes of group
            assert any(errors)
        host.delete(config, result)
        host.delete(other, ifname="net1")
        assert (target, host.left(), host.pod.links()) == (target, [], {})
        target += 1
    assert target > 4


@pytest.mark.parametrize("network", NETWORKS)
def test_a_kill_at_any_message_of_del_can_be_repeated(host: Host, network: str) -> None:
    config = host.config(network)
    target, died = 0, True
    while died:
        host.add(config)
        delete = invoker_of(config, Killing.at(target))
        died = dies(lambda delete=delete: host.delete(config, invoker=delete))  # type: ignore[misc]
        host.delete(config)
        assert (target, host.left(), host.pod.links()) == (target, [], {})
        target += 1
    assert target > 2


@pytest.mark.parametrize("more", [{}, {"vlan": 7}], ids=["plain", "vlan"])
def test_a_bridge_that_a_killed_add_left_half_made_is_completed(
    host: Host, more: dict[str, Any]
) -> None:
    names = ["br0.7", "br0"] if more else ["br0"]
    config = host.config("bridge", ipMasq=False, **more)

    def seen() -> list[object]:
        """What the next ADD makes of the bridge, and of the host's interface in its VLAN."""
        host.delete(config, host.add(config))
        with host.inside.entered(), open_channel() as channel:
            up = [(link := links.find(channel, each)) and link.up for each in names]
            accepts = sysctl.read("ipv6/conf/br0/accept_ra")
            vlans = [each.vlans for each in bridges.list_ports(channel)]
            channel.request([links.delete(each) for each in names])
        return [up, accepts, vlans]

    if more:
        require_kernel("VLAN filter")
    whole = seen()
    target, died = 0, True
    while died:
        add = invoker_of(config, Killing.at(target))
        died = dies(lambda add=add: host.add(config, add))  # type: ignore[misc]
        host.delete(config)
        assert (target, seen()) == (target, whole)
        target += 1
    assert target > 5


def test_a_bridge_that_has_lost_its_ports_becomes_a_gateway(host: Host) -> None:
    # The kernel takes its MAC away with the last port.
    port, gateway = host.config("bridge port"), host.config("bridge", ipMasq=False)
    host.delete(port, host.add(port))
    host.delete(gateway, host.add(gateway))


@pytest.mark.parametrize("network", NETWORKS)
def test_an_error_of_ipam_leaves_nothing(host: Host, network: str) -> None:
    config = host.config(network, subnet="10.90.0.0/31")
    with pytest.raises(InvalidConfig):
        host.add(config)
    assert (host.left(before_del=True), host.pod.links()) == ([], {})


def test_a_link_that_is_refused_does_not_cost_the_container_another_one(host: Host) -> None:
    # Newer kernels refuse the name first, older ones the parent, a port of a bridge.
    host.pod.ip("link", "add", "eth0", "type", "bridge")
    host.node.run("ip", "link", "add", "br9", "type", "bridge")
    host.node.run("ip", "link", "set", "card1", "master", "br9")
    with pytest.raises(CNIError):
        host.add(host.config("macvlan", master="card1"))
    assert list(host.pod.links()) == ["eth0"]


@pytest.mark.parametrize("network", ["ptp", "bridge"])
def test_an_error_of_iptables_leaves_nothing(host: Host, network: str) -> None:
    config = host.config(network)
    # Somebody has the chain's name in the way, as a chain with a hook.
    chain = Owner("net1", "container1", "eth0").chain
    require_nftables()
    hook = "{ type nat hook input priority 100 ; }"
    host.node.run("nft", f"add chain ip nat {chain} {hook}")
    before = host.left()
    with pytest.raises(KernelRefused):
        host.add(config)
    assert host.left() == before
    assert host.pod.links() == {}
