from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from multus.api.errors import CheckFailed, InvalidConfig, UnknownContainer
from multus.testing.invocation import Caller
from multus.testing.netns import Netns

if TYPE_CHECKING:
    from conftest import Host

V4 = [{"subnet": "10.90.0.0/24"}]
V6 = [{"subnet": "fd90::/64"}]


def test_what_is_as_it_was_made_passes(host: Host, caller: Caller) -> None:
    config = host.config(V4, V6, ipMasq=True)
    result = host.add(caller, config)
    host.check(caller, config, result)
    host.check(caller, config, result)


CHANGES = {
    "the link is gone": ("link delete eth0", "eth0"),
    "the link is of another kind": ("link delete eth0; link add eth0 type bridge", "veth"),
    "the MAC is another": ("link set eth0 address 02:00:00:00:00:09", "MAC"),
    "an IPv4 address is gone": ("address delete 10.90.0.2/24 dev eth0", "10.90.0.2/24"),
    "an IPv6 address is gone": ("address delete fd90::2/64 dev eth0", "fd90::2/64"),
    "the IPv4 network is gone": ("route delete 10.90.0.0/24", "10.90.0.0/24"),
    "the IPv6 network is gone": ("-6 route delete fd90::/64", "fd90::/64"),
    "the default route is gone": ("route delete default", "0.0.0.0/0"),
    "the IPv6 default route is gone": ("-6 route delete default", "::/0"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_in_the_container_is_found(
    host: Host, caller: Caller, pod: Netns, change: str
) -> None:
    commands, said = CHANGES[change]
    config = host.config(V4, V6)
    result = host.add(caller, config)
    for command in commands.split("; "):
        pod.ip(*command.split())
    with pytest.raises(CheckFailed, match=said.replace(".", r"\.")):
        host.check(caller, config, result)


@pytest.mark.parametrize("change", ["down", "route", "route6"])
def test_a_change_on_the_host_is_found(host: Host, caller: Caller, change: str) -> None:
    config = host.config(V4, V6)
    result = host.add(caller, config)
    name = result.interfaces[0].name
    if change == "down":
        host.node.ip("link", "set", name, "down")
    elif change == "route":
        host.node.ip("route", "delete", "10.90.0.2")
    else:
        host.node.ip("-6", "route", "delete", "fd90::2")
    with pytest.raises(CheckFailed, match=name):
        host.check(caller, config, result)


def test_check_finds_an_address_that_is_not_reserved_any_more(host: Host, caller: Caller) -> None:
    config = host.config(V4)
    result = host.add(caller, config)
    (host.folder / "ptpnet" / "10.90.0.2").unlink()
    with pytest.raises(CheckFailed, match=r"10\.90\.0\.2|address"):
        host.check(caller, config, result)


def test_another_namespace_than_adds_is_found(host: Host, caller: Caller, new_pod: object) -> None:
    config = host.config(V4)
    result = host.add(caller, config)
    other = evolve(caller, netns=host.node.path)
    with pytest.raises(CheckFailed, match="eth0"):
        host.check(other, config, result)


def test_a_namespace_that_is_gone_is_found(host: Host, caller: Caller, pod: Netns) -> None:
    config = host.config(V4)
    result = host.add(caller, config)
    pod.remove()
    with pytest.raises(UnknownContainer):
        host.check(caller, config, result)


def test_check_needs_the_result_of_add(host: Host, caller: Caller) -> None:
    config = host.config(V4)
    host.add(caller, config)
    with pytest.raises(InvalidConfig, match="prevResult"):
        host.check(caller, config, None)


def test_addresses_of_other_interfaces_in_the_result_are_not_looked_at(
    host: Host, caller: Caller
) -> None:
    config = host.config(V4)
    result = host.add(caller, config)
    other = evolve(result.interfaces[1], name="net7")
    foreign = evolve(result.ips[0], address="10.77.0.7/24", interface=2)
    chained = evolve(result, interfaces=(*result.interfaces, other), ips=(*result.ips, foreign))
    host.check(caller, config, chained)
