from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multus_merger_all import UNKNOWN, multus_merge

from multus.api.conf import Conf
from multus.api.network import Attachment, Delegate, Plugin
from multus.api.request import Request
from multus.api.result import DNS, IP, Interface, Result, Route
from multus.api.versions import SUPPORTED, at_least

NETNS = "/run/netns/pod"
REQUEST = Request("ADD", container_id="c1", netns=NETNS, ifname="eth0")
CONF = Conf.from_wire({"name": "n", "merger": "all"})
MAC = "02:00:00:00:00:01"


def attachment(ifname: str, result: Result, *, primary: bool = False) -> Attachment:
    delegate = Delegate(
        ifname, (Plugin({"type": "fake"}),), "1.0.0", ifname=ifname, primary=primary
    )
    return Attachment(delegate, result)


def merged(*results: Result) -> Result:
    """The merged result of networks on eth0, net0, net1, …, the first the primary."""
    names = ["eth0", *(f"net{i}" for i in range(len(results) - 1))]
    attachments = [
        attachment(name, result, primary=name == "eth0")
        for name, result in zip(names, results, strict=True)
    ]
    answer = multus_merge(attachments, REQUEST, CONF)
    assert answer is not None
    return answer


def link(name: str, mac: str = MAC, sandbox: str = NETNS) -> Interface:
    return Interface(name, mac, sandbox)


@pytest.mark.parametrize("merger", ["", "primary", "every"])
def test_answers_only_when_it_is_asked_for(merger: str) -> None:
    conf = Conf.from_wire({"name": "n", "merger": merger})
    assert multus_merge([attachment("eth0", Result(), primary=True)], REQUEST, conf) is None


def test_every_address_stays_on_its_interface() -> None:
    result = merged(
        Result((Interface("veth1"), link("eth0")), (IP("10.1.0.2/24", interface=1),)),
        Result((link("net0"),), (IP("10.2.0.2/24", interface=0), IP("fd00::2/64", interface=0))),
    )
    assert [each.name for each in result.interfaces] == ["veth1", "eth0", "net0"]
    assert [(ip.address, ip.interface) for ip in result.ips] == [
        ("10.1.0.2/24", 1),
        ("10.2.0.2/24", 2),
        ("fd00::2/64", 2),
    ]


def test_the_primary_comes_first_wherever_it_was_invoked() -> None:
    second = attachment("net0", Result((link("net0"),)))
    first = attachment("eth0", Result((link("eth0"),), dns=DNS(("10.0.0.53",))), primary=True)
    result = multus_merge([second, first], REQUEST, CONF)
    assert result is not None
    assert [each.name for each in result.interfaces] == ["eth0", "net0"]
    assert result.dns == DNS(("10.0.0.53",))


class TestAddressesAlone:
    """The results of plugins before 0.3.0."""

    def test_are_put_on_the_networks_interface(self) -> None:
        result = merged(Result((link("eth0"),)), Result(ips=(IP("10.2.0.2/24", "10.2.0.1"),)))
        assert result.interfaces[1] == Interface("net0", UNKNOWN, NETNS)
        assert result.ips == (IP("10.2.0.2/24", "10.2.0.1", 1),)

    def test_are_put_on_the_one_that_has_its_name_in_the_container(self) -> None:
        links = (Interface("net0"), link("other"), link("net0"))
        result = merged(Result(), Result(links, (IP("10.2.0.2/24"),)))
        assert result.ips[0].interface == 2

    def test_are_put_on_the_only_one_in_the_container(self) -> None:
        # The first SR-IOV plugin named its interface as 'if0name' said.
        result = merged(Result(), Result((Interface("vf"), link("north")), (IP("10.2.0.2/24"),)))
        assert result.ips[0].interface == 1
        assert len(result.interfaces) == 2


@pytest.mark.parametrize(
    ("mac", "reported"),
    [
        (MAC, MAC),
        ("02-00-00-00-00-01", "02-00-00-00-00-01"),
        ("0200.5e00.5301", "0200.5e00.5301"),
        ("02:00:5E:10:00:00:00:01", "02:00:5E:10:00:00:00:01"),
        (":".join(["00"] * 20), ":".join(["00"] * 20)),
        ("", UNKNOWN),
        ("none", UNKNOWN),
        ("02:00:00:00:00", UNKNOWN),
        ("02:00:00:00:00:0g", UNKNOWN),
        ("02:00:00:00:00:01\n", UNKNOWN),
    ],
)
def test_an_interface_of_the_container_has_an_address_that_can_be_read(
    mac: str, reported: str
) -> None:
    result = merged(Result((link("eth0", mac), link("peer", mac, sandbox=""))))
    assert [each.mac for each in result.interfaces] == [reported, mac]


def test_a_route_that_two_networks_report_is_reported_once() -> None:
    route = Route("10.0.0.0/8", "10.1.0.1")
    assert merged(Result(routes=(route,)), Result(routes=(route, Route("::/0")))).routes == (
        route,
        Route("::/0"),
    )


# --- The checks of containerd and podman ----------------------------------------------------------

_links = st.builds(
    Interface,
    name=st.sampled_from(["eth0", "net0", "net1", "veth1", "north"]),
    mac=st.sampled_from(["", MAC, "odd"]),
    sandbox=st.sampled_from(["", NETNS]),
)


@st.composite
def _results(draw: st.DrawFn) -> Result:
    links = draw(st.lists(_links, max_size=3).map(tuple))
    indexes = st.none() | st.sampled_from(range(len(links))) if links else st.none()
    addresses = st.sampled_from(["10.1.0.2/24", "10.2.0.2/24", "fd00::2/64"])
    ips = st.lists(st.builds(IP, address=addresses, interface=indexes), max_size=3)
    routes = st.lists(st.builds(Route, dst=st.sampled_from(["0.0.0.0/0", "::/0"])), max_size=2)
    return Result(links, draw(ips.map(tuple)), draw(routes.map(tuple)))


@given(st.lists(_results(), min_size=1, max_size=4), st.sampled_from(SUPPORTED))
def test_any_mix_is_a_valid_result_of_every_version(results: list[Result], version: str) -> None:
    whole = merged(*results)
    assert len(whole.ips) == sum(len(each.ips) for each in results)
    wire = whole.to_wire(version)
    assert Result.from_wire(wire).to_wire(version) == wire
    if at_least(version, "0.3.0"):
        _containerd(wire)
        _podman(wire)


def _containerd(wire: dict[str, Any]) -> None:
    """go-cni: an index is in range, and names an interface."""
    for ip in wire.get("ips", ()):
        assert 0 <= ip["interface"] < len(wire["interfaces"])
        assert wire["interfaces"][ip["interface"]]["name"]


def _podman(wire: dict[str, Any]) -> None:
    """podman: every interface of the container has an address; addresses on none are dropped."""
    for each in wire.get("interfaces", ()):
        if each.get("sandbox"):
            assert re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", each["mac"])


def test_is_found_and_asked_before_the_primary_merger() -> None:
    from multus.registry.index import discover
    from multus.registry.loading import load

    entries = [each for each in discover() if each.name.startswith("merger-")]
    hooks: Callable[..., Any] = load(entries).hooks.implementations
    assert hooks("multus_merge")[0].plugin_name == "merger-all"
