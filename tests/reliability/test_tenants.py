"""Configurations of a tenant for in-process plugins: what may not be is refused, and is harmless.

Nothing of the host changes, no file outside of the folders of the plugin is touched, nothing waits
without a limit, and the error says which key is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from multus_invoker_bridge.config import Config
from multus_invoker_flannel import lease
from multus_invoker_tuning import config as tuning_config
from reliability.life import TENANT, Life
from work import calls

from multus.api.errors import CNIError
from multus.netlink import Namespace
from multus.netlink.bridges import Vlans
from multus.testing.invocation import Caller
from multus.testing.netns import Netns, Node

STATIC = {"type": "static", "addresses": [{"address": "10.1.0.7/24"}]}
HUGE = 10**400

#: Configurations, and what the error says.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a path as bridge": ({"type": "bridge", "bridge": "../../etc"}, "'bridge' holds '/'"),
    "NUL in a bridge": ({"type": "bridge", "bridge": "br0\0x"}, "'bridge' holds"),
    "half a surrogate pair": ({"type": "bridge", "bridge": "br\ud800"}, "'bridge' holds"),
    "a long bridge": ({"type": "bridge", "bridge": "b" * 300}, "'bridge' is longer"),
    "a sysctl folder as bridge": ({"type": "bridge", "bridge": "all"}, "all"),
    "a pattern of names": ({"type": "bridge", "bridge": "br%d"}, "'bridge' holds '%'"),
    "a card as bridge": ({"type": "bridge", "bridge": "uplink", "promiscMode": True}, "bridge"),
    "loopback as bridge": ({"type": "bridge", "bridge": "lo", "isGateway": True}, "bridge"),
    "a huge MTU": ({"type": "bridge", "bridge": "br9", "mtu": HUGE}, "mtu"),
    "a small MTU": ({"type": "bridge", "bridge": "br9", "mtu": 67}, "'mtu' is 67"),
    "a huge VLAN": ({"type": "bridge", "bridge": "br9", "vlan": HUGE}, "vlan"),
    "a huge trunk": ({"type": "bridge", "bridge": "br9", "vlanTrunk": [{"id": HUGE}]}, "vlanTrunk"),
    "a path as master": ({"type": "macvlan", "master": "../eth0"}, "'master' holds '/'"),
    "NUL in a master": ({"type": "macvlan", "master": "uplink\0"}, "'master' holds"),
    "a surrogate as master": ({"type": "ipvlan", "master": "\udfff"}, "'master' holds"),
    "a long master": ({"type": "vlan", "master": "m" * 70000, "vlanId": 1}, "'master' is longer"),
    "no master, and no default route": ({"type": "macvlan"}, "'master' is missing"),
    "a negative MTU": ({"type": "macvlan", "master": "uplink", "mtu": -1}, "mtu"),
    "a huge MTU of macvlan": ({"type": "macvlan", "master": "uplink", "mtu": HUGE}, "mtu"),
    "a huge MTU of ipvlan": ({"type": "ipvlan", "master": "uplink", "mtu": HUGE}, "MTU"),
    "NUL in a device": ({"type": "host-device", "device": "eth0\0"}, "'device' is"),
    "a surrogate as device": ({"type": "host-device", "device": "\udfff"}, "'device' is"),
    "a long device": ({"type": "host-device", "device": "d" * 300}, "'device' is"),
    "a surrogate as address": ({"type": "host-device", "pciBusID": "\udfff"}, "'pciBusID' is"),
    "a surrogate in a path": (
        {"type": "host-device", "kernelpath": "/sys/devices/\udfff"},
        "'kernelpath' is",
    ),
    "a broken MAC": ({"type": "macvlan", "master": "uplink", "mac": "02:\0"}, "02:"),
    "a group's MAC": (
        {"type": "macvlan", "master": "uplink", "mac": "03:00:00:00:00:01"},
        "MAC 03:00:00:00:00:01 is a group's address",
    ),
    "a MAC of zeros": (
        {"type": "bridge", "bridge": "br9", "args": {"cni": {"mac": "00:00:00:00:00:00"}}},
        "MAC 00:00:00:00:00:00 is no address",
    ),
}

#: Sysctls that are not the container's own, or not names.
SYSCTLS = (
    *("kernel.core_pattern", "net/../kernel/core_pattern", "net.ipv4.conf.IFNAME/../../x"),
    *("net.core.somaxconn\0x", "net.\ud800", "net", "net.", "/proc/sys/net/core/somaxconn"),
    *("net.core." + "x" * 5000, "net.ipv4.conf.IFNAME.no_such"),
)


@pytest.fixture(autouse=True)
def host(cni_node: Node) -> Iterator[Node]:
    with Namespace(cni_node.path) as namespace, namespace.entered():
        yield cni_node


def refused(node: Node, pod: Netns, folder: Path, config: dict[str, Any]) -> str:
    """The error of an ADD that changes nothing; the DELs after it succeed."""
    before = node.state(str(folder / "multus"))
    outcomes = Life(
        pod, folder, {"cniVersion": "1.1.0", "name": "net", **config}, TENANT
    ).outcomes()
    assert before.difference(node.state(str(folder / "multus"))) == []
    assert pod.links() == {}
    for verb, error in outcomes.items():
        assert error is None or error.number != 999, (verb, error)
    assert outcomes["DEL"] is None and outcomes["DEL again"] is None
    assert isinstance(outcomes["ADD"], CNIError)
    return str(outcomes["ADD"])


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_or_number_that_cannot_be(
    host: Node, cni_pod: Netns, tmp_path: Path, name: str
) -> None:
    config, said = REFUSED[name]
    assert said in refused(host, cni_pod, tmp_path, {**config, "ipam": STATIC})


def tuned(**keys: Any) -> dict[str, Any]:
    first = {"type": "macvlan", "master": "uplink", "ipam": STATIC}
    return {"plugins": [first, {"type": "tuning", **keys}]}


@pytest.mark.parametrize("name", SYSCTLS)
def test_a_sysctl_that_is_not_of_the_containers_network(
    host: Node, cni_pod: Netns, tmp_path: Path, name: str
) -> None:
    assert "sysctl" in refused(host, cni_pod, tmp_path, tuned(sysctl={name: "1"}))


def test_a_value_that_has_no_bytes(host: Node, cni_pod: Netns, tmp_path: Path) -> None:
    config = tuned(sysctl={"net.core.somaxconn": "5\ud800"})
    assert "net/core/somaxconn" in refused(host, cni_pod, tmp_path, config)


@pytest.mark.parametrize("kind", ["fifo", "folder", "large", "wrong", "dangling"])
def test_an_allow_list_that_cannot_be_read_allows_nothing(
    host: Node, cni_pod: Netns, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "allowlist.conf"
    monkeypatch.setattr(tuning_config, "ALLOWED", str(path))
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        path.write_text("^net\n" * 20_000)
    elif kind == "wrong":
        path.write_text("^net(\n")
    else:
        path.symlink_to(tmp_path / "nowhere")
    said = refused(host, cni_pod, tmp_path, tuned(sysctl={"net.core.somaxconn": "500"}))
    assert str(path) in said


@pytest.fixture
def leased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node has a subnet of flannel."""
    path = tmp_path / "subnet.env"
    subnet = "FLANNEL_NETWORK=10.6.0.0/16\nFLANNEL_SUBNET=10.6.0.1/24\n"
    path.write_text(f"{subnet}FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n")
    monkeypatch.setattr(lease, "FILE", str(path))


@pytest.mark.usefixtures("leased")
@pytest.mark.parametrize("folder", ["/a\0b", "/\ud800", "relative", 5])
def test_a_folder_of_flannel_that_cannot_be(
    host: Node, cni_pod: Netns, tmp_path: Path, folder: Any
) -> None:
    config = {"type": "flannel", "dataDir": folder}
    assert "'dataDir'" in refused(host, cni_pod, tmp_path, config)


@pytest.mark.usefixtures("leased")
def test_flannel_of_flannel_of_flannel(host: Node, cni_pod: Netns, tmp_path: Path) -> None:
    config: dict[str, Any] = {"type": "bridge"}
    for _ in range(90):
        config = {"type": "flannel", "delegate": config, "dataDir": "/etc"}
    assert "'flannel' is not found" in refused(host, cni_pod, tmp_path, config)


def test_ten_thousand_trunks_are_read_at_once() -> None:
    every = [{"minID": 1, "maxID": 4094}] * 10_000
    config = {"type": "bridge", "vlanTrunk": every, "ipam": STATIC}
    invocation = Caller(provenance=TENANT).invocation("ADD", config)
    found: list[Config] = []
    # Each VLAN of each entry would be forty million.
    assert calls(lambda: found.append(Config.read(invocation))) < 100 * len(every)
    assert found[0].trunk == (Vlans(1, 4094),)
