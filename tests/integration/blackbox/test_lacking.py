"""What a plugin's binary does not say: the key that names what the node lacks, before its words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from integration.blackbox.program import Multus, refused
from multus.testing.delegates import Reply
from multus.testing.netns import Netns
from multus.testing.runtime import Container

ADDRESS = {"type": "static", "addresses": [{"address": "10.9.0.2/24"}]}


def full(multus: Multus) -> dict[str, Any]:
    """A range of one address, which somebody has."""
    multus.node.run(
        "sh", "-c", f"mkdir -p {multus.ipam_dir}/net && : >{multus.ipam_dir}/net/10.9.0.2"
    )
    ipam = {"type": "host-local", "subnet": "10.9.0.0/30", "dataDir": multus.ipam_dir}
    return {"type": "bridge", "bridge": "lack0", "ipam": ipam}


def no_bridge(multus: Multus) -> dict[str, Any]:
    multus.node.run("ip", "link", "add", "lack1", "type", "veth", "peer", "name", "lack9")
    return {"type": "bridge", "bridge": "lack1"}


CASES: dict[str, tuple[Callable[[Multus], dict[str, Any]], int, str]] = {
    "master": (
        lambda _: {"type": "macvlan", "master": "nosuch0", "ipam": ADDRESS},
        7,
        "'master' is 'nosuch0', and the host has no interface of that name: name an interface",
    ),
    "master inside": (
        lambda _: {"type": "macvlan", "master": "nosuch1", "linkInContainer": True},
        7,
        "'master' is 'nosuch1', and the container (",
    ),
    "device": (
        lambda _: {"type": "host-device", "device": "nosuch2"},
        7,
        "'device' is 'nosuch2', and the host has no interface of that name",
    ),
    "pci": (
        lambda _: {"type": "host-device", "pciBusID": "ffff:00:1f.7"},
        7,
        "'pciBusID' is 'ffff:00:1f.7', and the host has no device of that name",
    ),
    "bridge": (no_bridge, 7, "'bridge' is 'lack1', and that interface of the host is no bridge"),
    "range": (
        lambda _: {
            "type": "bridge",
            "bridge": "lack2",
            "ipam": {"type": "host-local", "subnet": "10.9.0.0/24", "rangeStart": "10.8.0.1"},
        },
        7,
        "rangeStart 10.8.0.1 not in network 10.9.0.0/24: use an address of the subnet",
    ),
    "full": (full, 103, "'ipam' has no free address in range set 10.9.0.1-10.9.0.2: 1 of 1 are"),
    "program": (
        lambda _: {"type": "bridge", "bridge": "lack3", "ipam": {"type": "nosuch"}},
        106,
        "'ipam.type' is 'nosuch': plugin 'nosuch' is not found in ",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_key_and_the_fix_come_before_the_plugins_words(
    multus: Multus, cni_pod: Netns, case: str
) -> None:
    multus.bin.real("macvlan", "bridge", "host-device", "static", "host-local")
    config, code, told = CASES[case]
    delegate = {"name": "net", **config(multus)}
    conf = multus.conf(delegate, invokers={delegate["type"]: "exec"})
    error = refused(multus.add(conf, Container(cni_pod.path)), code)
    assert told in error["msg"]
    assert error["msg"].startswith(f"network 'net', plugin '{delegate['type']}', interface eth0: ")
    assert "the plugin's own words: " in error["details"]


def test_nothing_is_added_where_nothing_is_lacking(multus: Multus, cni_pod: Netns) -> None:
    multus.bin.stand_in("odd", ADD=Reply.error(999, "out of paper"))
    conf = multus.conf({"type": "odd", "name": "net", "master": "lo", "ipam": {}})
    error = refused(multus.add(conf, Container(cni_pod.path)), 101)
    assert error["msg"] == "network 'net', plugin 'odd', interface eth0: out of paper"
    assert error["details"] == "the plugin's own code: 999"


@pytest.mark.parametrize(("own", "code"), [(11, 11), (7, 7), (105, 101), (117, 117)])
def test_a_code_keeps_its_meaning(multus: Multus, cni_pod: Netns, own: int, code: int) -> None:
    """CNI's own codes and a plugin's stay; one that means something else in Multus does not."""
    multus.bin.stand_in("odd", ADD=Reply.error(own, "out of paper"))
    conf = multus.conf({"type": "odd", "name": "net", "master": "nosuch0"})
    error = refused(multus.add(conf, Container(cni_pod.path)), code if own < 100 else 7)
    assert "'master' is 'nosuch0'" in error["msg"]
    conf = multus.conf({"type": "odd", "name": "net"})
    refused(multus.add(conf, Container(cni_pod.path)), code, "out of paper")
