"""The configuration that Multus' first documentation shows, with stand-ins that record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from integration.blackbox.program import Multus, refused
from multus.testing.delegates import Reply, interface_result
from multus.testing.runtime import Container

SRIOV = {
    "type": "sriov",
    "if0": "enp12s0f0",
    "ipam": {
        "type": "host-local",
        "subnet": "10.56.217.0/24",
        "rangeStart": "10.56.217.131",
        "rangeEnd": "10.56.217.190",
        "routes": [{"dst": "0.0.0.0/0"}],
        "gateway": "10.56.217.1",
    },
}
PTP = {
    "type": "ptp",
    "ipam": {
        "type": "host-local",
        "subnet": "10.168.1.0/24",
        "rangeStart": "10.168.1.11",
        "rangeEnd": "10.168.1.20",
        "routes": [{"dst": "0.0.0.0/0"}],
        "gateway": "10.168.1.1",
    },
}
FLANNEL = {"type": "flannel", "masterplugin": True, "delegate": {"isDefaultGateway": True}}
CONTAINER = Container("/run/netns/none", id="multus-test")


@pytest.fixture
def conf(multus: Multus) -> dict[str, Any]:
    """It has no ``cniVersion``: that means 0.1.0, so that its results are of that time too."""
    flannel = {"cniVersion": "0.1.0", "ip4": {"ip": "192.168.42.3/24"}, "dns": {}}
    multus.bin.stand_in("flannel", ADD=Reply.json(flannel))
    multus.bin.stand_in("ptp", ADD=Reply.json(interface_result(["10.168.1.11/24"])))
    multus.bin.stand_in("sriov", ADD=Reply(""))
    # The stand-ins are binaries: what is served in-process here is not asked.
    binaries = {"invokers": dict.fromkeys(("ptp", "sriov", "flannel"), "exec")}
    name = "multus-demo-network"
    return multus.conf(SRIOV, PTP, FLANNEL, name=name, cniVersion=None, **binaries)


def test_flannel_is_eth0_the_vf_net0_and_ptp_net1(multus: Multus, conf: dict[str, Any]) -> None:
    result = multus.add(conf, CONTAINER).result
    assert multus.bin.commands() == ["ADD flannel eth0", "ADD sriov net0", "ADD ptp net1"]
    assert result == {"cniVersion": "0.1.0", "ip4": {"ip": "192.168.42.3/24"}, "dns": {}}


def test_each_gets_its_part_with_name_and_version(multus: Multus, conf: dict[str, Any]) -> None:
    multus.add(conf, CONTAINER).require()
    inserted = {"name": "multus-demo-network", "cniVersion": "0.1.0"}
    assert [call.conf for call in multus.bin.calls] == [
        {**FLANNEL, **inserted},
        {**SRIOV, **inserted},
        {**PTP, **inserted},
    ]


def test_all_are_deleted_in_reverse(multus: Multus, conf: dict[str, Any]) -> None:
    multus.add(conf, CONTAINER).require()
    multus.delete(conf, CONTAINER).require()
    assert multus.bin.commands("DEL") == ["DEL ptp net1", "DEL sriov net0", "DEL flannel eth0"]
    assert multus.records() == []


def test_its_comment_line_is_named(multus: Multus, conf: dict[str, Any]) -> None:
    text = json.dumps(conf, indent=1)
    printed = text.replace('"if0":', '#part of sriov plugin conf\n"if0":', 1).encode()
    refused(multus.add(printed, CONTAINER), 6, "#part of sriov plugin conf", "delete the line")
