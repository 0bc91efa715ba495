"""Which interface each key names, with a stand-in for sysfs and real links."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from multus_invoker_host_device.invoker import HostDevice

from multus.api.errors import CheckFailed, InvalidConfig
from multus.api.result import Result
from multus.inprocess.devices import Devices
from multus.testing.invocation import Caller
from multus.testing.netns import Netns, Node, inside
from multus.testing.session import new_session
from multus.testing.sriov import Card

#: The configuration names the device at this address.
VF = "0000:03:02.0"


@frozen
class Place:
    node: Node
    pod: Netns
    card: Card

    def invoke(self, verb: str, result: Result | None = None, **config: Any) -> Any:
        invoker = HostDevice(devices=Devices(self.card.root))
        with inside(self.node), new_session() as session:
            whole = {"type": "host-device", **config}
            caller = Caller("c1", self.pod.path)
            invocation = caller.invocation(verb, whole, result, session=session)
            return getattr(invoker, verb)(invocation)

    def add(self, **config: Any) -> Result:
        made = self.invoke("add", **config)
        assert isinstance(made, Result)
        return made

    def returned(self, result: Result, **config: Any) -> bool:
        """Whether DEL returns the device."""
        self.invoke("delete_one", result, **config)
        return not self.pod.links() and "enp2s0v0" in self.node.links()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    node, pod = Node.create("dev"), Netns.create("devpod")
    try:
        yield Place(node, pod, Card.build(str(tmp_path / "sys"), node))
    finally:
        pod.remove()
        node.remove()


def _virtio(card: Card) -> None:
    os.makedirs(f"{card.path(0)}/virtio3")
    shutil.move(f"{card.path(0)}/net", f"{card.path(0)}/virtio3/net")


def _auxiliary(card: Card) -> None:
    folder = f"{card.root}/bus/auxiliary/devices/mlx5_core.sf.2"
    shutil.copytree(f"{card.path(0)}/net", f"{folder}/net")


def _kernel_path(card: Card) -> None:
    folder = f"{card.root}/devices/pci0000:00/{VF}"
    shutil.copytree(f"{card.path(0)}/net", f"{folder}/net")


@pytest.mark.parametrize(
    ("config", "change"),
    [
        pytest.param({"pciBusID": VF}, None, id="pciBusID"),
        pytest.param({"pciBusID": VF}, _virtio, id="virtio"),
        pytest.param({"runtimeConfig": {"deviceID": VF}}, None, id="deviceID"),
        pytest.param({"runtimeConfig": {"deviceID": "mlx5_core.sf.2"}}, _auxiliary, id="auxiliary"),
        pytest.param(
            {"kernelpath": f"/sys/devices/pci0000:00/{VF}"}, _kernel_path, id="kernelpath"
        ),
    ],
)
def test_a_device_is_found_moved_and_returned(
    place: Place, config: dict[str, Any], change: Any
) -> None:
    if change is not None:
        change(place.card)
    mac = place.node.links()["enp2s0v0"].mac
    result = place.add(**config)
    assert [(each.name, each.mac) for each in result.interfaces] == [("eth0", mac)]
    assert place.pod.links()["eth0"].alias == "enp2s0v0"
    place.invoke("check", result, **config)
    assert place.returned(result, **config)


def test_the_devices_id_precedes_the_pci_address(place: Place) -> None:
    result = place.add(pciBusID=place.card.vf(1), runtimeConfig={"deviceID": VF})
    assert place.pod.links()["eth0"].alias == "enp2s0v0"
    assert place.returned(result, pciBusID=VF)


@pytest.mark.parametrize("with_ipam", [True, False])
def test_a_device_with_a_userspace_driver_stays_where_it_is(place: Place, with_ipam: bool) -> None:
    os.unlink(f"{place.card.path(0)}/driver")
    os.symlink("../../drivers/vfio-pci", f"{place.card.path(0)}/driver")
    shutil.rmtree(f"{place.card.path(0)}/net")
    ipam = {"ipam": {"type": "static", "addresses": [{"address": "10.9.0.2/24"}]}}
    config = {"pciBusID": VF, **(ipam if with_ipam else {})}
    result = place.add(**config)
    assert [(each.name, each.mac) for each in result.interfaces] == [("eth0", "")]
    assert [each.address for each in result.ips] == (["10.9.0.2/24"] if with_ipam else [])
    assert place.pod.links() == {}
    place.invoke("check", result, **config)
    assert place.returned(result, **config)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "it names no device"),
        ({"device": "away"}, "'device' is 'away', and the host has no interface"),
        ({"hwaddr": "02:00:00:00:00:99"}, "'hwaddr' is '02:00:00:00:00:99', and the host has no"),
        ({"hwaddr": "02:00"}, "'hwaddr' is '02:00', not a hardware address"),
        ({"pciBusID": "0000:09:00.0"}, "'pciBusID' is '0000:09:00.0', and the host has no"),
        ({"pciBusID": "../../net"}, "bare name"),
        ({"kernelpath": "/etc"}, "below /sys/devices/"),
        ({"kernelpath": "/sys/devices/../class/net/x"}, "below /sys/devices/"),
        ({"runtimeConfig": {"deviceID": "x"}}, "'runtimeConfig.deviceID' is 'x', on neither"),
    ],
)
def test_a_device_that_is_not_there_is_named(
    place: Place, config: dict[str, Any], said: str
) -> None:
    before = place.node.state()
    with pytest.raises(InvalidConfig) as caught:
        place.add(**config)
    assert said in str(caught.value)
    place.invoke("delete_one", **config)
    assert before.difference(place.node.state()) == []


def test_an_interface_that_was_up_is_up_after_a_failed_add(place: Place) -> None:
    place.node.ip("link", "set", "enp2s0v0", "up")
    place.pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "other")
    ipam = {"type": "static", "addresses": [{"address": "10.9.0.2/24"}]}
    routes = [{"dst": "10.10.0.0/16", "gw": "203.0.113.1"}]  # which is not on the link
    with pytest.raises(Exception, match="eth0 exists already"):
        place.add(device="enp2s0v0")
    place.pod.ip("link", "delete", "eth0")
    with pytest.raises(Exception, match="ENETUNREACH"):
        place.add(device="enp2s0v0", ipam={**ipam, "routes": routes})
    link = place.node.links()["enp2s0v0"]
    assert (link.up, link.alias, place.pod.links()) == (True, "", {})


def test_a_check_sees_what_has_changed(place: Place) -> None:
    result = place.add(device="enp2s0v0")
    place.pod.ip("link", "set", "eth0", "down")
    with pytest.raises(CheckFailed, match="is down"):
        place.invoke("check", result, device="enp2s0v0")
