"""VFs with a userspace driver: bound by the invoker, or bound before."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from multus_invoker_sriov.sysfs import Sysfs, bind

from multus.api.errors import KernelRefused, TryAgainLater
from multus.testing.sriov import Card

if TYPE_CHECKING:
    from conftest import Bench

RANGE = {"type": "host-local", "subnet": "10.1.0.0/24"}
DPDK = {
    "kernel_driver": "iavf",
    "dpdk_driver": "vfio-pci",
    "dpdk_tool": "/opt/dpdk/tools/dpdk-devbind.py",
}


def _driver(bench: Bench, index: int = 0) -> str:
    return os.path.basename(os.readlink(f"{bench.card.path(index)}/driver"))


def _given_to_vfio(bench: Bench) -> None:
    """VF 0 as an administrator has given it to vfio-pci."""
    path = bench.card.path(0)
    os.unlink(f"{path}/driver")
    os.symlink("../../drivers/vfio-pci", f"{path}/driver")
    shutil.rmtree(f"{path}/net")


def test_the_first_plugin_binds_the_driver_and_del_binds_the_kernels(bench: Bench) -> None:
    config = bench.config(if0="enp2s0", dpdk=DPDK, vlan=100, ipam=RANGE)
    result = bench.add(config)
    assert _driver(bench) == "vfio-pci"
    assert bench.pod.links() == {}
    assert [(each.name, each.pci_id) for each in result.interfaces] == [("net1", bench.card.vf(0))]
    assert result.ips == ()  # that plugin hands out no address for DPDK
    bench.invoker.check(bench.invocation("CHECK", config, result))
    bench.delete(config)
    assert _driver(bench) == "iavf"
    assert os.listdir(f"{bench.card.path(0)}/net") == ["enp2s0v0"]
    assert bench.told()[-1] == "set VLAN 0, priority 0, protocol 0x8100 on VF 0"
    assert bench.files() == []


def test_the_device_is_offered_to_no_driver_but_the_wanted_one(bench: Bench) -> None:
    writes: list[tuple[str, str]] = []
    card = bench.card

    class Noting(Sysfs):
        def write(self, path: str, text: str) -> None:
            writes.append((path.rpartition("devices/")[2], text))
            super().write(path, text)
            card.react(path, text)

    bind(Noting(card.root), card.vf(0), "vfio-pci")
    bind(Noting(card.root), card.vf(0), "vfio-pci")  # it has it already
    vf = card.vf(0)
    assert writes == [
        (f"{vf}/driver_override", "vfio-pci"),
        (f"{vf}/driver/unbind", vf),
        ("bus/pci/drivers_probe", vf),
        (f"{vf}/driver_override", "\n"),
    ]


def test_a_vf_bound_for_dpdk_is_not_free(bench: Bench) -> None:
    config = bench.config(if0="enp2s0", dpdk=DPDK)
    bench.add(config)
    other = bench.add(config, container_id="c2", ifname="net2")
    assert other.interfaces[0].pci_id == bench.card.vf(1)


def test_a_driver_that_is_not_loaded_is_named_and_the_vf_returned(bench: Bench) -> None:
    config = bench.config(if0="enp2s0", dpdk={**DPDK, "dpdk_driver": "igb_uio"}, vlan=100)
    with pytest.raises(KernelRefused) as caught:
        bench.add(config)
    assert "modprobe igb_uio" in caught.value.msg
    assert _driver(bench) == "iavf"
    assert bench.files() == []
    assert bench.told()[-1] == "set VLAN 0, priority 0, protocol 0x8100 on VF 0"


def test_a_driver_that_does_not_take_the_device_is_an_error(bench: Bench) -> None:
    class Deaf(Sysfs):
        """A kernel whose driver refuses the device."""

    with pytest.raises(KernelRefused):
        bind(Deaf(bench.card.root), bench.card.vf(0), "vfio-pci")
    override = f"{bench.card.path(0)}/driver_override"
    with open(override, encoding="ascii") as file:
        assert file.read() == "\n"


def test_todays_plugin_takes_a_vf_that_is_bound_already(bench: Bench) -> None:
    _given_to_vfio(bench)
    config = bench.config(vlan=100, mac="02:00:00:00:00:aa", ipam=RANGE)
    result = bench.add(config)
    assert bench.pod.links() == {}
    wire: dict[str, Any] = result.to_wire("1.1.0")
    assert wire["interfaces"] == [
        {
            "name": "net1",
            "mac": "02:00:00:00:00:aa",
            "sandbox": bench.pod.path,
            "pciID": bench.card.vf(0),
        }
    ]
    # The application configures the addresses itself, but IPAM assigns them.
    assert [ip["address"] for ip in wire["ips"]] == ["10.1.0.2/24"]
    bench.invoker.check(bench.invocation("CHECK", config, result))
    with pytest.raises(TryAgainLater):
        bench.add(config, container_id="c2", ifname="net2")
    bench.delete(config)
    assert _driver(bench) == "vfio-pci"
    assert bench.files() == []


def test_a_vf_that_nothing_serves_is_not_taken(bench: Bench) -> None:
    shutil.rmtree(f"{bench.card.path(0)}/net")
    with pytest.raises(TryAgainLater) as caught:
        bench.add(bench.config())
    assert "iavf" in caught.value.msg
    assert bench.files() == []


def test_the_lowest_free_vf_is_by_number_not_by_name(tmp_path: Any, cni_node: Any) -> None:
    card = Card.build(str(tmp_path / "sys"), cni_node, vfs=11)
    found = Sysfs(card.root).virtual_functions("enp2s0")
    assert [each.index for each in found] == list(range(11))
    assert found[10].pci == card.vf(10) == "0000:03:03.2"
