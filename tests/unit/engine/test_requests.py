"""What a network was asked for: the arguments for it, and whether the attachment has it."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from unit.values import delegate_of

from multus.api.errors import InvalidConfig
from multus.api.network import Attachment, Plugin
from multus.api.result import IP, Interface, Result
from multus.engine.requests import (
    arguments,
    require_possible,
    require_served,
    undeclared,
    unserved,
    without_arguments,
)
from multus.log import Log
from multus.testing.netns import Netns

MAC = "02:00:00:00:00:07"
NOWHERE = "/run/netns/none"
LOG = Log.from_conf({"logLevel": "panic"})


def attached(asked: dict[str, Any], *ips: str, mac: str = "", declared: str = "") -> Attachment:
    """An attachment of ``net1`` with this result."""
    links = (Interface("net1", mac, NOWHERE),) if mac else ()
    delegate = delegate_of("net", ifname="net1", runtime_config=asked)
    if declared:
        plugin = Plugin({"type": "fake", "capabilities": {declared: True}})
        delegate = evolve(delegate, plugins=(plugin,))
    return Attachment(delegate, Result(links, tuple(IP(each) for each in ips)))


@pytest.mark.parametrize(
    ("asked", "args"),
    [
        ({}, {}),
        ({"mac": "", "ips": []}, {}),
        ({"bandwidth": {"ingressRate": 1}}, {}),
        ({"mac": MAC}, {"MAC": MAC}),
        ({"mac": MAC, "ips": ["10.0.0.1"]}, {"MAC": MAC, "IP": "10.0.0.1"}),
        ({"ips": ("10.0.0.1/24", "2001:db8::1")}, {"IP": "10.0.0.1/24,2001:db8::1"}),
    ],
)
def test_arguments(asked: dict[str, Any], args: dict[str, str]) -> None:
    assert arguments(asked) == args


@pytest.mark.parametrize("value", ["x;K8S_POD_NAME=other", "a,b", "a=b", "a b", "a\0"])
def test_a_value_cannot_add_another_argument(value: str) -> None:
    for asked in ({"mac": value}, {"ips": ["10.0.0.1", value]}):
        with pytest.raises(InvalidConfig) as caught:
            arguments(asked)
        assert "CNI_ARGS" in caught.value.msg


def test_without_arguments_the_others_stay() -> None:
    delegate = delegate_of("n", args={"IgnoreUnknown": "true", "MAC": MAC, "IP": "10.0.0.1"})
    assert without_arguments(delegate).args == {"IgnoreUnknown": "true"}


SERVED = [
    attached({"mac": MAC}, mac=MAC),
    attached({"mac": "02-00-00-00-00-0A"}, mac="02:00:00:00:00:0a"),
    attached({"mac": "0200.0000.000a"}, mac="02:00:00:00:00:0a"),
    attached({"ips": ["10.0.0.1"]}, "10.0.0.1/24"),
    attached({"ips": ["10.0.0.1/16"]}, "10.0.0.1/24", "10.0.0.9/24"),
    attached({"ips": ["2001:DB8:0:0::1/64"]}, "2001:db8::1/64"),
    attached({"portMappings": [{}]}, declared="portMappings"),
    attached({}),
]


@pytest.mark.parametrize("attachment", SERVED, ids=str)
def test_served(attachment: Attachment) -> None:
    assert unserved(attachment, NOWHERE, LOG) == ()
    require_served(attachment, NOWHERE, LOG)


UNSERVED = [
    (attached({"mac": MAC}), "'mac' is 02:00:00:00:00:07, and the interface has an unknown one"),
    (
        attached({"mac": MAC}, mac="02:00:00:00:00:08"),
        "'mac' is 02:00:00:00:00:07, and the interface has 02:00:00:00:00:08: use plugins",
    ),
    (
        attached({"mac": MAC}, mac="02:00:00:00:00:08", declared="mac"),
        "'mac' is 02:00:00:00:00:07, and the interface has 02:00:00:00:00:08",
    ),
    (attached({"ips": ["10.0.0.1"]}), "'ips' holds 10.0.0.1, and the interface has none"),
    (
        attached({"ips": ["10.0.0.1", "10.0.0.2/24"]}, "10.0.0.1/24"),
        "'ips' holds 10.0.0.2/24, and the interface has 10.0.0.1/24",
    ),
    (
        attached({"bandwidth": {"ingressRate": 1}}),
        "'bandwidth' is requested, and none of its plugins (fake) declares that capability: add",
    ),
]


@pytest.mark.parametrize(("attachment", "text"), UNSERVED, ids=[text for _, text in UNSERVED])
def test_unserved(attachment: Attachment, text: str) -> None:
    (problem,) = unserved(attachment, NOWHERE, LOG)
    assert str(problem).startswith(text)
    with pytest.raises(InvalidConfig) as caught:
        require_served(attachment, NOWHERE, LOG)
    assert caught.value.msg.startswith(f"network 'net', interface net1: {text}")


def test_what_the_result_does_not_say_is_looked_up_in_the_namespace(cni_pod: Netns) -> None:
    cni_pod.ip("link", "add", "net1", "address", MAC, "type", "bridge")
    cni_pod.ip("address", "add", "10.0.0.1/24", "dev", "net1")
    asked = {"mac": MAC, "ips": ["10.0.0.1"]}
    assert unserved(attached(asked), cni_pod.path, LOG) == ()
    (problem,) = unserved(attached({"ips": ["10.0.0.2"]}), cni_pod.path, LOG)
    assert "and the interface has 10.0.0.1/24" in problem.reason


def test_only_the_outcome_says_whether_a_mac_is_served() -> None:
    delegate = attached({"mac": MAC, "ips": ["10.0.0.1"], "bandwidth": {}}).delegate
    assert [each.path for each in undeclared(delegate)] == [("mac",), ("ips",), ("bandwidth",)]
    require_possible(attached({"mac": MAC, "ips": ["10.0.0.1"]}).delegate)
    with pytest.raises(InvalidConfig) as caught:
        require_possible(delegate)
    assert caught.value.msg.startswith("network 'net': 'bandwidth' is requested")
