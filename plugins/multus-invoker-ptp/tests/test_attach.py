"""ADD, beyond what it does as the reference does (tests/integration/interchange)."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from attrs import evolve
from descriptors import all_closed
from multus_invoker_ptp.invoker import Ptp
from waiting import PATIENCE

from multus.api.errors import AddressesExhausted, InvalidConfig, KernelRefused, UnknownContainer
from multus.api.result import DNS
from multus.netlink import Namespace, Transport, nftables
from multus.netlink.routes import SCOPE_UNIVERSE
from multus.testing.invocation import Caller
from multus.testing.netns import Netns
from multus.testing.session import new_session

if TYPE_CHECKING:
    from conftest import Host

V4 = [{"subnet": "10.90.0.0/24"}]
V6 = [{"subnet": "fd90::/64"}]


def talk(server: Netns, client: Netns, address: str) -> str:
    """Who the client is to the server at *address*, after both have heard of each other."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with Namespace(server.path) as there, Namespace(client.path) as here:
        with (
            there.socket(family, socket.SOCK_STREAM) as listening,
            here.socket(family, socket.SOCK_STREAM) as calling,
        ):
            listening.bind((address, 0))
            listening.listen()
            listening.settimeout(PATIENCE)
            calling.settimeout(PATIENCE)
            calling.connect((address, listening.getsockname()[1]))
            accepted, peer = listening.accept()
            accepted.close()
            return str(peer[0])


def static(*addresses: dict[str, str], **more: Any) -> dict[str, Any]:
    pool = {"type": "static", "addresses": list(addresses), **more}
    return {"cniVersion": "1.0.0", "name": "ptpnet", "type": "ptp", "ipam": pool}


def test_the_result_names_both_ends_and_the_containers_addresses(
    host: Host, caller: Caller, pod: Netns
) -> None:
    result = host.add(caller, host.config(V4, V6, mtu=1400))
    near, far = result.interfaces
    assert re.fullmatch(r"veth[0-9a-f]{8}", near.name)
    assert (far.name, far.sandbox, near.sandbox) == ("eth0", pod.path, "")
    assert near.mac == host.node.links()[near.name].mac
    assert far.mac == pod.links()["eth0"].mac
    assert [ip.interface for ip in result.ips] == [1, 1]
    assert pod.links()["eth0"].mtu == host.node.links()[near.name].mtu == 1400


@pytest.mark.parametrize("subnets", [V4, V6], ids=["IPv4", "IPv6"])
def test_host_and_container_talk_at_once(
    host: Host, caller: Caller, pod: Netns, subnets: list[dict[str, str]]
) -> None:
    result = host.add(caller, host.config(subnets))
    for netns in (host.node, pod):
        with netns.inventory() as there:
            given = [each for each in there.addresses() if each.scope == SCOPE_UNIVERSE]
        assert given
        assert not any(each.tentative for each in given)
    ip = result.ips[0]
    own = ip.address.partition("/")[0]
    time.sleep(0.1)  # the kernel joins the groups of IPv6 addresses in a worker, some time later
    assert talk(host.node, pod, ip.gateway) == own
    assert talk(pod, host.node, own) == ip.gateway


@pytest.mark.parametrize("subnets", [V4, V6], ids=["IPv4", "IPv6"])
def test_containers_talk_through_the_host(
    host: Host, new_pod: Callable[[], Netns], subnets: list[dict[str, str]]
) -> None:
    pods = [new_pod(), new_pod()]
    own = []
    for number, pod in enumerate(pods):
        result = host.add(Caller(f"container{number}", pod.path), host.config(subnets))
        own.append(result.ips[0].address.partition("/")[0])
    assert talk(pods[0], pods[1], own[0]) == own[1]


def test_the_host_forwards_the_families_that_are_used(host: Host, caller: Caller) -> None:
    keys = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
    for key in keys:
        host.node.run("sysctl", "-q", "-w", f"{key}=0")
    host.add(caller, host.config(V4))
    assert [host.node.run("sysctl", "-n", key).strip() for key in keys] == ["1", "0"]
    host.add(evolve(caller, ifname="net1"), host.config(V6, name="other"))
    assert [host.node.run("sysctl", "-n", key).strip() for key in keys] == ["1", "1"]


def test_ipv6_is_allowed_where_the_runtime_forbade_it(
    host: Host, caller: Caller, pod: Netns
) -> None:
    for name in ("all", "default"):
        pod.run("sysctl", "-q", "-w", f"net.ipv6.conf.{name}.disable_ipv6=1")
    host.add(caller, host.config(V6))
    assert pod.addresses("eth0") == ["fd90::2/64"]
    assert pod.run("sysctl", "-n", "net.ipv6.conf.eth0.keep_addr_on_down").strip() == "1"


def test_the_hosts_end_takes_no_router_advertisements(host: Host, caller: Caller) -> None:
    name = host.add(caller, host.config(V4)).interfaces[0].name
    assert host.node.run("sysctl", "-n", f"net.ipv6.conf.{name}.accept_ra").strip() == "0"


def test_addresses_may_share_a_network_and_a_gateway(
    host: Host, caller: Caller, pod: Netns
) -> None:
    first = {"address": "10.90.0.5/24", "gateway": "10.90.0.1"}
    second = {"address": "10.90.0.6/24", "gateway": "10.90.0.1"}
    config = static(first, second)
    result = host.add(caller, config)
    assert pod.addresses("eth0") == ["10.90.0.5/24", "10.90.0.6/24"]
    assert talk(pod, host.node, "10.90.0.6") == "10.90.0.1"
    host.check(caller, config, result)
    host.delete(caller, config)
    assert host.left() == []


def test_an_address_may_be_a_network_of_its_own(host: Host, caller: Caller, pod: Netns) -> None:
    config = static({"address": "10.90.0.5/32", "gateway": "169.254.1.1"})
    result = host.add(caller, config)
    assert talk(pod, host.node, "10.90.0.5") == "169.254.1.1"
    host.check(caller, config, result)
    host.delete(caller, config)
    assert host.left() == []


def test_routes_have_what_the_configuration_says_of_them(
    host: Host, caller: Caller, pod: Netns
) -> None:
    config = static(
        {"address": "10.90.0.5/24", "gateway": "10.90.0.1"},
        routes=[{"dst": "10.200.0.0/16", "mtu": 1300, "advmss": 1200, "priority": 7, "table": 99}],
    )
    config["cniVersion"] = "1.1.0"
    result = host.add(caller, config)
    (route,) = pod.ip("route", "show", "table", "99")
    assert (route["dst"], route["gateway"], route["metric"]) == ("10.200.0.0/16", "10.90.0.1", 7)
    assert route["metrics"] == [{"mtu": 1300, "advmss": 1200}]
    host.check(caller, config, result)


def test_dns_of_the_configuration_stands_in_the_place_of_ipams(host: Host, caller: Caller) -> None:
    config = static({"address": "10.90.0.5/24", "gateway": "10.90.0.1"})
    config["ipam"]["dns"] = {"nameservers": ["192.0.2.1"], "domain": "of-ipam"}
    assert host.add(caller, config).dns == DNS(("192.0.2.1",), "of-ipam")
    host.delete(caller, config)
    assert host.add(caller, {**config, "dns": {"search": ["here"]}}).dns == DNS(search=("here",))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"mtu": -1}, "mtu"),
        ({"mtu": "1400"}, "mtu"),
        ({"mtu": 20}, "mtu"),
        ({"mtu": 70000}, "mtu"),
        ({"ipMasqBackend": "ipchains"}, "ipMasqBackend"),
        ({"ipMasq": 3}, "ipMasq"),
        ({"dns": {"nameservers": "10.0.0.1"}}, "nameservers"),
        ({"ipam": {}}, "ipam"),
        ({"ipam": {"type": "static"}}, "no address"),
        ({"ipam": {"type": "static", "addresses": [{"address": "10.90.0.5/24"}]}}, "gateway"),
    ],
)
def test_a_wrong_configuration_is_refused_and_nothing_is_left(
    host: Host, caller: Caller, pod: Netns, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidConfig, match=said):
        host.add(caller, host.config(V4) | wrong)
    assert host.left() == []
    assert pod.links() == {}


def test_what_the_kernel_refuses_leaves_nothing(host: Host, caller: Caller, pod: Netns) -> None:
    with pytest.raises(KernelRefused, match="fd90::2/64"):
        host.add(caller, host.config(V6, mtu=1000))  # IPv6 wants 1280 bytes
    assert host.left() == []
    assert pod.links() == {}


def test_an_interface_that_exists_stays_as_it_is(host: Host, caller: Caller, pod: Netns) -> None:
    config = host.config(V4)
    host.add(caller, config)
    before = (pod.ip("address"), host.left())
    again = host.config(V4, name="again")
    with pytest.raises(KernelRefused, match="eth0 exists already"):
        host.add(caller, again)
    after = (pod.ip("address"), [fact for fact in host.left() if "last_reserved" not in fact])
    assert after == before


def test_without_an_address_left_nothing_is_made(host: Host, new_pod: Callable[[], Netns]) -> None:
    config = host.config([{"subnet": "10.90.0.0/30"}])
    host.add(Caller("first", new_pod().path), config)
    pod = new_pod()
    before = host.left()
    with pytest.raises(AddressesExhausted):
        host.add(Caller("second", pod.path), config)
    assert host.left() == before
    assert pod.links() == {}


def test_a_container_that_is_gone_takes_no_address(host: Host) -> None:
    with pytest.raises(UnknownContainer):
        host.add(Caller("container1", "/run/netns/no-such-thing"), host.config(V4))
    assert host.left() == []


def test_the_hosts_own_namespace_is_refused(host: Host) -> None:
    with pytest.raises(InvalidConfig, match="own network namespace"):
        host.add(Caller("container1", host.node.path), host.config(V4))
    assert host.left() == []


@pytest.mark.parametrize("backend", ["", "iptables", "nftables"])
def test_many_containers_at_once_get_an_address_each(
    host: Host, new_pod: Callable[[], Netns], backend: str
) -> None:
    count = 16
    pods = [new_pod() for _ in range(count)]
    callers = [Caller(f"container{number}", pod.path) for number, pod in enumerate(pods)]
    config = host.config(V4, V6, ipMasq=bool(backend), ipMasqBackend=backend)
    with ThreadPoolExecutor(count) as pool:
        results = list(pool.map(lambda caller: host.add(caller, config), callers))
        assert len({ip.address for result in results for ip in result.ips}) == 2 * count
        assert len({result.interfaces[0].name for result in results}) == count
        list(pool.map(lambda caller: host.delete(caller, config), callers))
    # The table of nftables stays, empty, for the next.
    assert [fact for fact in host.left() if "cni_plugins_masquerade" not in fact] == []
    assert "saddr" not in host.node.run("nft", "list", "ruleset")


def test_nothing_stays_open(host: Host, caller: Caller) -> None:
    config = host.config(V4, ipMasq=True)
    with host.inside.entered(), nftables.channel():
        pass  # the one that stays, for the next use
    with all_closed():
        for _ in range(5):
            result = host.add(caller, config)
            host.check(caller, config, result)
            host.delete(caller, config, result)
            with pytest.raises(KernelRefused):
                host.add(caller, host.config(V6, mtu=1000))


class Counted(Transport):
    """Knows which of its kind are open."""

    opened: ClassVar[list[Counted]] = []

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.opened.append(self)

    def close(self) -> None:
        self.opened.remove(self)
        super().close()


def test_a_requests_networks_share_their_channels_for_as_long_as_it_takes(
    host: Host, pod: Netns
) -> None:
    ptp = Ptp(Counted)
    with new_session() as session, host.inside.entered():
        for number, ifname in enumerate(("eth0", "net1")):
            config = host.config([{"subnet": f"10.{90 + number}.0.0/24"}])
            caller = Caller(netns=pod.path, ifname=ifname)
            ptp.add(caller.invocation("ADD", config, session=session))
            assert len(Counted.opened) == 2
    assert Counted.opened == []
    assert {"eth0", "net1"} <= pod.links().keys()
