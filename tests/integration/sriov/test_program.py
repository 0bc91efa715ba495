"""The program, in a separate process, gives a container a VF of the stand-in card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from multus.testing.netns import Netns
from multus.testing.runtime import Container, Runtime
from multus.testing.sriov import Card

RANGE = {"type": "host-local", "subnet": "10.56.217.0/24"}


def _conf(tmp_path: Path, **keys: Any) -> dict[str, Any]:
    ipam = {**RANGE, "dataDir": str(tmp_path / "networks")}
    sriov = {"type": "sriov", "cniDir": str(tmp_path / "sriov"), "ipam": ipam, **keys}
    return {
        "cniVersion": "1.1.0",
        "name": "multus-demo-network",
        "type": "multus",
        "cniDir": str(tmp_path / "multus"),
        "logLevel": "verbose",
        "delegates": [sriov],
    }


def test_add_check_and_del_by_the_program(
    runtime: Runtime, card: Card, cni_pod: Netns, tmp_path: Path
) -> None:
    conf = _conf(tmp_path, if0="enp2s0", vlan=210)
    container = Container(cni_pod.path)
    result = runtime.add(conf, container).result
    assert [each["pciID"] for each in result["interfaces"]] == [card.vf(0)]
    assert cni_pod.addresses("eth0") == ["10.56.217.2/24"]
    assert runtime.check(conf, container, result).status == 0
    runtime.delete(conf, container, result).require()
    assert cni_pod.links() == {}
    words = [each.words.rpartition(" of interface")[0] for each in card.port.messages]
    assert words == [
        "set VLAN 210, priority 0, protocol 0x8100 on VF 0",
        "set VLAN 0, priority 0, protocol 0x8100 on VF 0",
    ]


def test_a_vf_for_dpdk_passes_check_though_the_kernel_has_no_interface_of_it(
    runtime: Runtime, card: Card, cni_pod: Netns, tmp_path: Path
) -> None:
    drivers = {"kernel_driver": "iavf", "dpdk_driver": "vfio-pci"}
    conf = _conf(tmp_path, if0="enp2s0", dpdk=drivers)
    container = Container(cni_pod.path)
    result = runtime.add(conf, container).result
    assert cni_pod.links() == {}
    runtime.check(conf, container, result).require()
    runtime.delete(conf, container, result).require()
    assert list((tmp_path / "sriov").glob("c*")) == []


def test_a_key_that_is_not_known_goes_to_the_binary_and_the_log_says_so(
    runtime: Runtime, cni_pod: Netns, tmp_path: Path
) -> None:
    conf = _conf(tmp_path, if0="enp2s0", rdma=True)
    answer = runtime.add(conf, Container(cni_pod.path))
    assert "'sriov'" in answer.error["msg"]
    lines = [json.loads(line)["msg"] for line in answer.stderr.decode().splitlines()]
    assert any("sriov" in line and "'rdma'" in line for line in lines)
