"""The status annotation's content, from results of every kind."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from multus_observer_status.status import (
    added_message,
    annotation,
    entries,
    entries_of,
    says,
    theirs,
)

from multus.api import deviceinfo
from multus.api.network import OUTSIDE, Attachment, Delegate, Plugin
from multus.api.result import Result
from multus.testing.netns import Netns

POD = "/run/netns/pod"


#: One interface in the pod.
LINK = {"interfaces": [{"name": "net1", "sandbox": POD}]}


def attached(result: dict[str, Any], **delegate: Any) -> Attachment:
    keys: dict[str, Any] = {
        "name": "net-a",
        "plugins": (Plugin({"type": "bridge"}),),
        "cni_version": "1.0.0",
        "label": "default/net-a",
        "ifname": "net1",
        **delegate,
    }
    return Attachment(Delegate(**keys), Result.from_wire({"cniVersion": "1.1.0", **result}))


FULL = {
    "interfaces": [
        {"name": "br0", "mac": "02:00:00:00:00:01"},
        {"name": "net1", "mac": "02:00:00:00:00:02", "sandbox": POD, "mtu": 1400},
        {"name": "other", "mac": "02:00:00:00:00:03", "sandbox": POD},
    ],
    "ips": [
        {"address": "192.0.2.1/24", "interface": 0},
        {"address": "192.0.2.2/24", "interface": 1},
        {"address": "2001:db8::2/64", "interface": 1},
        {"address": "192.0.2.3/24", "interface": 2},
    ],
    "routes": [{"dst": "0.0.0.0/0", "gw": "192.0.2.1"}, {"dst": "10.0.0.0/8", "gw": "192.0.2.9"}],
    "dns": {"nameservers": ["192.0.2.53"], "search": ["example.org"]},
}


def entry(attachment: Attachment) -> dict[str, Any]:
    """The one entry of an attachment."""
    (found,) = entries(attachment)
    return found


def described(attachment: Attachment) -> list[dict[str, Any]]:
    """The device-info of an attachment's entries."""
    return [each["device-info"] for each in entries(attachment) if "device-info" in each]


def test_each_interface_in_the_pod_has_an_entry() -> None:
    common = {
        "name": "default/net-a",
        "default": False,
        "dns": {"nameservers": ["192.0.2.53"], "search": ["example.org"]},
        "gateway": ["192.0.2.1"],
    }
    net1 = {
        "interface": "net1",
        "ips": ["192.0.2.2", "2001:db8::2"],
        "mac": "02:00:00:00:00:02",
        "mtu": 1400,
    }
    other = {"interface": "other", "ips": ["192.0.2.3"], "mac": "02:00:00:00:00:03"}
    assert entries(attached(FULL)) == [{**common, **net1}, {**common, **other}]


def defaults(result: dict[str, Any]) -> list[bool]:
    return [each["default"] for each in entries(attached(result, primary=True))]


def test_the_default_is_the_interface_with_the_gateway_else_the_first() -> None:
    assert defaults(FULL) == [True, False]
    with_gateway = {"address": "192.0.2.3/24", "gateway": "192.0.2.1", "interface": 2}
    assert defaults({**FULL, "ips": [with_gateway]}) == [False, True]
    assert defaults({**FULL, "ips": [{**with_gateway, "interface": 0}]}) == [True, False]
    assert defaults({**FULL, "ips": []}) == [True, False]


@pytest.mark.parametrize("index", [None, -1, 9])
def test_an_address_of_no_interface_is_the_last_ones(index: int | None) -> None:
    found = entries(attached({**FULL, "ips": [{"address": "192.0.2.7/24", "interface": index}]}))
    assert [each.get("ips") for each in found] == [None, ["192.0.2.7"]]


def test_what_attached_nothing_has_no_entry() -> None:
    assert entries(attached({})) == []
    assert entries(attached({"interfaces": [{"name": "br0"}, {"name": "veth0"}]})) == []
    assert annotation([entries(attached({}, primary=True))]) == "[]"


def test_one_interface_that_is_not_in_the_pod_is_not_named() -> None:
    result = {"interfaces": [{"name": "vf0", "pciID": "0000:3b:02.1"}]}
    assert entry(attached({**result, "ips": [{"address": "192.0.2.2/24", "interface": 0}]})) == {
        "name": "default/net-a",
        "ips": ["192.0.2.2"],
        "default": False,
        "dns": {},
        "device-info": {
            "type": "pci",
            "version": "1.1.0",
            "pci": {"pci-address": "0000:3b:02.1"},
        },
    }


def test_an_interface_that_the_plugin_did_not_report_is_looked_for(cni_pod: Netns) -> None:
    """Plugins before CNI 0.3.0 report addresses alone, and some report nothing."""
    assert entries(attached({}), netns=cni_pod.path) == []
    cni_pod.ip("link", "add", "net1", "address", "02:00:00:00:00:02", "type", "veth")
    (found,) = entries(attached({}), netns=cni_pod.path)
    assert (found["interface"], found["mac"], found["mtu"]) == ("net1", "02:00:00:00:00:02", 1500)


def test_addresses_that_name_no_interface_are_the_pods() -> None:
    result = {"ips": [{"address": "192.0.2.2/24"}]}
    assert entry(attached(result))["ips"] == ["192.0.2.2"]
    with_link = {**result, "interfaces": [{"name": "net1", "sandbox": POD}]}
    assert entry(attached(with_link))["ips"] == ["192.0.2.2"]


def test_exactly_one_is_the_default() -> None:
    both = [attached(FULL, primary=True, default=True), attached(FULL, default=True)]
    found = [each["default"] for each in json.loads(annotation(map(entries, both)))]
    assert found == [True, False, False, False]


def test_what_attached_nothing_has_no_status() -> None:
    three = [attached({}, primary=True), attached(FULL), attached({})]
    found = json.loads(annotation(map(entries, three)))
    assert [each["name"] for each in found] == ["default/net-a", "default/net-a"]


def test_the_default_route_is_named_where_it_was_asked_for() -> None:
    asked = attached(FULL, options={"name": "net-a", "default-route": ["192.0.2.1"]})
    assert [each["default-route"] for each in entries(asked)] == [["192.0.2.1"]] * 2
    assert not any("default-route" in each for each in entries(attached(FULL)))


INFO = {"type": "pci", "version": "1.1.0", "pci": {"pci-address": "0000:03:02.0"}}


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attachment:
    """An attachment with a device; its files are in *tmp_path*."""
    monkeypatch.setattr(deviceinfo, "FOLDER", str(tmp_path))
    for folder in ("dp", "cni"):
        (tmp_path / folder).mkdir()
    path = deviceinfo.of_attachment("default/net-a", "c1", "net1")
    return attached({}, resource="intel.com/vf", device="0000:03:02.0", device_info=path)


def by_device_plugin(tmp_path: Path) -> Path:
    return tmp_path / "dp" / "intel.com-vf-0000:03:02.0-device.json"


def test_the_device_plugins_description_is_copied(tmp_path: Path, device: Attachment) -> None:
    assert not described(device)
    by_device_plugin(tmp_path).write_text(json.dumps(INFO))
    assert described(device) == [INFO]


def test_another_resources_description_of_a_device_of_that_name_is_not(
    tmp_path: Path, device: Attachment
) -> None:
    (tmp_path / "dp" / "other.com-vf-0000:03:02.0-device.json").write_text(json.dumps(INFO))
    assert not described(device)


@pytest.mark.parametrize(
    "text", ["{", "[]", "", '{"type": 5}', '{"pci": "x"}', '{"pci": {"vhost-net": 1}}']
)
def test_a_malformed_description_is_left_out(tmp_path: Path, device: Attachment, text: str) -> None:
    by_device_plugin(tmp_path).write_text(text)
    assert not described(device)


def test_a_description_that_is_not_a_regular_file_is_omitted_at_once(
    tmp_path: Path, device: Attachment
) -> None:
    """Opening a FIFO would wait for its other end."""
    os.mkfifo(by_device_plugin(tmp_path))
    os.mkfifo(device.delegate.device_info)
    assert not described(device)


def test_what_the_delegate_wrote_wins(tmp_path: Path, device: Attachment) -> None:
    by_device_plugin(tmp_path).write_text(json.dumps(INFO))
    written = {"type": "vhost-user", "vhost-user": {"mode": "client", "path": "/run/s"}}
    Path(device.delegate.device_info).write_text(json.dumps({**written, "more": {"x": 1}}))
    assert described(device) == [written]


def test_the_event_says_what_was_added() -> None:
    result = {"ips": [{"address": "192.0.2.2/24"}, {"address": "2001:db8::2/64"}]}
    said = added_message(attached(result))
    assert said == "Add net1 [192.0.2.2/24 2001:db8::2/64] from default/net-a"


NET1 = {"name": "default/net-a", "interface": "net1", "ips": ["192.0.2.2"], "mac": "02:AA"}


@pytest.mark.parametrize(
    ("status", "right"),
    [
        (None, False),
        ("", False),
        ("{", False),
        ('{"name": "default/net-a"}', False),
        ("[5]", False),
        ([], False),
        ([NET1], True),
        ([{**NET1, "mac": "02:aa", "mtu": 1400, "example.com/more": 1}], True),
        ([{**NET1, "ips": ["192.0.2.3"]}], False),
        ([{**NET1, "name": "default/net-b"}], False),
        ([NET1, {"name": "default/gone", "interface": "net2"}], False),
        ([{**NET1, "ips": "192.0.2.2"}], False),
    ],
)
def test_a_status_is_right_when_it_says_what_is_attached(status: Any, right: bool) -> None:
    text = status if status is None or isinstance(status, str) else json.dumps(status)
    assert says(entries_of(text), [[NET1]]) is right


def test_the_default_network_and_the_order_of_entries_are_not_compared() -> None:
    default = {"name": "p0", "interface": "eth0", "default": True}
    told: list[dict[str, Any]] = [NET1, {**default, "name": "cbr0"}]
    assert says(told, [[default], [NET1]])
    assert not says([NET1, {**default, "interface": "eth1"}], [[default], [NET1]])


def test_of_an_outside_controllers_network_its_own_entry_counts() -> None:
    told = [{"name": "theirs", "interface": "net1"}, {"name": "other", "interface": "net2"}]
    assert theirs(attached(LINK, source=OUTSIDE), told) == told[:1]
    assert theirs(attached(LINK, source="source-nad"), told) == []
    assert theirs(attached(LINK, source=OUTSIDE), None) == []
    assert theirs(attached(LINK, default=True), told) == []
