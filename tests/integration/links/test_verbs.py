"""CHECK, STATUS and GC of every kind of link, by what each can find."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from kernel import require_kernel

from integration.links.conftest import invoker_of
from multus.api.errors import CheckFailed, CNIError, InvalidConfig, NotStarted
from multus.testing.invocation import Caller
from multus.testing.netns import Netns

if TYPE_CHECKING:
    from integration.links.conftest import Host
    from multus.api.result import Result

#: A configuration of each type, without addresses.
TYPES: Mapping[str, dict[str, Any]] = {
    "ptp": {"mtu": 1400, "ipMasq": True},
    "bridge": {"bridge": "br0", "isGateway": True, "mtu": 1400, "ipMasq": True},
    "macvlan": {"master": "uplink", "mtu": 1400},
    "ipvlan": {"master": "uplink", "mtu": 1400},
    "vlan": {"master": "uplink", "vlanId": 7, "mtu": 1400},
    "dummy": {},
}

#: Changes of the link in the container; each is one that CHECK of every type finds.
CHANGES: Mapping[str, tuple[str, ...]] = {
    "it is missing": ("link", "delete", "eth0"),
    "it is down": ("link", "set", "eth0", "down"),
    "its MAC": ("link", "set", "eth0", "address", "02:00:00:00:00:09"),
    "its address": ("address", "delete", "10.90.0.2/24", "dev", "eth0"),
    "a route": ("route", "delete", "192.0.2.0/24"),
}


@pytest.fixture(params=TYPES)
def config(request: pytest.FixtureRequest, host: Host) -> dict[str, Any]:
    require_kernel(request.param)
    found = host.config("macvlan")
    pool = {**found["ipam"], "routes": [{"dst": "192.0.2.0/24", "gw": "10.90.0.1"}]}
    return {
        "cniVersion": "1.1.0",
        "name": "net1",
        "type": request.param,
        "ipam": pool,
        **TYPES[request.param],
    }


def check(host: Host, config: dict[str, Any], result: Result) -> None:
    with host.inside.entered():
        invoker_of(config).check(host.caller.invocation("CHECK", config, result))


def files(host: Host) -> set[str]:
    return {each.name for each in (host.folder / "net1").iterdir() if each.name[0].isdigit()}


@pytest.mark.parametrize(
    ("config", "change"),
    # An ipvlan has the MAC of its parent, and no other.
    [(kind, each) for kind in TYPES for each in CHANGES if (kind, each) != ("ipvlan", "its MAC")],
    indirect=["config"],
)
def test_check_finds_a_change_of_the_link(host: Host, config: dict[str, Any], change: str) -> None:
    result = host.add(config)
    check(host, config, result)
    host.pod.ip(*CHANGES[change])
    with pytest.raises(CheckFailed):
        check(host, config, result)


def test_check_finds_that_the_address_is_not_reserved(host: Host, config: dict[str, Any]) -> None:
    result = host.add(config)
    (host.folder / "net1" / "10.90.0.2").unlink()
    with pytest.raises(CNIError, match=r"10\.90\.0\.2"):
        check(host, config, result)


def test_check_finds_another_namespace_than_adds(host: Host, config: dict[str, Any]) -> None:
    result = host.add(config)
    with host.inside.entered():
        other = Caller("container1", "/run/netns/none")
        with pytest.raises(CNIError, match="namespace"):
            invoker_of(config).check(other.invocation("CHECK", config, result))


#: What another configuration than ADD's is told, by type.
OTHERS: Mapping[str, dict[str, Any]] = {
    "macvlan": {"mode": "private"},
    "ipvlan": {"mode": "l3"},
    "vlan": {"vlanId": 8},
}


@pytest.mark.parametrize("config", OTHERS, indirect=True)
def test_check_compares_what_is_particular_to_the_type(host: Host, config: dict[str, Any]) -> None:
    result = host.add(config)
    with pytest.raises(CheckFailed):
        check(host, {**config, **OTHERS[config["type"]]}, result)


def test_check_of_a_vlan_compares_the_mtu(host: Host) -> None:
    require_kernel("vlan")
    config = {**host.config("macvlan"), "type": "vlan", **TYPES["vlan"]}
    result = host.add(config)
    host.pod.ip("link", "set", "eth0", "mtu", "1300")
    with pytest.raises(CheckFailed, match="MTU 1300, not 1400"):
        check(host, config, result)


WRONG: Mapping[str, tuple[dict[str, Any], type[CNIError]]] = {
    "a key": ({"mtu": "many", "mode": 3, "dns": 3}, InvalidConfig),
    "no such IPAM": ({"ipam": {"type": "no-such-plugin"}}, NotStarted),
    "a range": ({"ipam": {"type": "host-local", "subnet": "10.90.0.0/33"}}, InvalidConfig),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_status_says_what_is_wrong(host: Host, config: dict[str, Any], wrong: str) -> None:
    more, error = WRONG[wrong]
    with host.inside.entered():
        invoker_of(config).status(host.caller.invocation("STATUS", config))
        with pytest.raises(error):
            invoker_of(config).status(host.caller.invocation("STATUS", {**config, **more}))


def test_gc_frees_the_addresses_and_rules_of_what_is_gone(
    host: Host, config: dict[str, Any]
) -> None:
    host.add(config)
    alone = files(host), _rules(host)
    other = Netns.create("linkpod")
    # An interface has a VLAN once.
    another = config if config["type"] != "vlan" else {**config, "vlanId": 8}
    try:
        evolve(host, pod=other, container_id="container2").add(another)
        assert len(files(host)) == 2
        with host.inside.entered():
            collecting = host.caller.invocation("GC", config, valid=[host.caller])
            for _twice in range(2):
                invoker_of(config).gc(collecting)
                assert (files(host), _rules(host)) == alone
    finally:
        other.remove()
    assert bool(alone[1]) is bool(config.get("ipMasq"))


def _rules(host: Host) -> list[str]:
    return [line for line in host.left() if "firewall rule" in line]


@pytest.mark.parametrize("verb", ["status", "gc"])
def test_tuning_has_nothing_to_say(host: Host, verb: str) -> None:
    module = pytest.importorskip("multus_invoker_tuning.invoker")
    call: Callable[..., object] = getattr(module.Tuning(), verb)
    config = {"type": "tuning", "dataDir": str(host.folder), "mtu": 1400}
    with host.inside.entered():
        assert call(host.caller.invocation(verb.upper(), config)) is None
