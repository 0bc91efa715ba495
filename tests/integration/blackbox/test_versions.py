"""Versions: what is supported, how a result looks in each, and agreeing with old delegates."""

from __future__ import annotations

from typing import Any

import pytest

from integration.blackbox.program import Multus, refused
from multus.testing.delegates import Reply
from multus.testing.runtime import Container

VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
NETNS = "/run/netns/none"

FULL: dict[str, Any] = {
    "cniVersion": "1.1.0",
    "interfaces": [
        {"name": "veth1", "mac": "02:00:00:00:00:01", "mtu": 1400},
        {"name": "@IFNAME@", "mac": "02:00:00:00:00:02", "mtu": 1400, "sandbox": "@NETNS@"},
    ],
    "ips": [
        {"address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 1},
        {"address": "10.2.0.5/24", "interface": 1},
        {"address": "fd00::5/64", "gateway": "fd00::1", "interface": 1},
    ],
    "routes": [
        {"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1300, "priority": 5},
        {"dst": "::/0", "gw": "fd00::1"},
    ],
    "dns": {"nameservers": ["10.1.0.53"], "search": ["example.org"]},
}


@pytest.mark.parametrize("stdin", [b'{"cniVersion": "0.4.0"}', b"{}", b""])
def test_version_lists_what_is_supported(multus: Multus, stdin: bytes) -> None:
    answer = multus.runtime.version(stdin)
    assert answer.result["supportedVersions"] == VERSIONS
    assert answer.result["cniVersion"] in VERSIONS


@pytest.mark.parametrize("version", ["9.9.9", "1.2.0", "0.0.1", "one", "1.0"])
@pytest.mark.parametrize("command", ["ADD", "CHECK"])
def test_an_unknown_version_is_incompatible(multus: Multus, command: str, version: str) -> None:
    conf = multus.conf({"type": "fake"}, cniVersion=version)
    refused(multus.runtime.call(command, conf, Container(NETNS).environ()), 1, version)


def result_in(multus: Multus, version: str | None, **keys: Any) -> dict[str, Any]:
    multus.bin.stand_in("fake", ADD=Reply.json(FULL))
    conf = multus.conf({"type": "fake"}, cniVersion=version, **keys)
    return multus.add(conf, Container(NETNS)).result


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_the_oldest_results_have_one_address_a_family(multus: Multus, version: str) -> None:
    assert result_in(multus, version) == {
        "cniVersion": version,
        "ip4": {
            "ip": "10.1.0.5/24",
            "gateway": "10.1.0.1",
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}],
        },
        "ip6": {
            "ip": "fd00::5/64",
            "gateway": "fd00::1",
            "routes": [{"dst": "::/0", "gw": "fd00::1"}],
        },
        "dns": FULL["dns"],
    }


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0"])
def test_addresses_carry_their_family_before_1_0(multus: Multus, version: str) -> None:
    result = result_in(multus, version)
    assert result["cniVersion"] == version
    assert [ip["version"] for ip in result["ips"]] == ["4", "4", "6"]
    assert [ip["interface"] for ip in result["ips"]] == [1, 1, 1]
    assert result["interfaces"][1] == {
        "name": "eth0",
        "mac": "02:00:00:00:00:02",
        "sandbox": NETNS,
    }
    assert result["routes"][0] == {"dst": "0.0.0.0/0", "gw": "10.1.0.1"}


def test_a_1_0_result_has_neither_family_nor_mtu(multus: Multus) -> None:
    result = result_in(multus, "1.0.0")
    assert [set(ip) for ip in result["ips"]] == [
        {"address", "gateway", "interface"},
        {"address", "interface"},
        {"address", "gateway", "interface"},
    ]
    assert "mtu" not in result["interfaces"][1]


def test_a_1_1_result_has_everything(multus: Multus) -> None:
    result = result_in(multus, "1.1.0")
    assert result["interfaces"][1] == {
        "name": "eth0",
        "mac": "02:00:00:00:00:02",
        "mtu": 1400,
        "sandbox": NETNS,
    }
    assert result["routes"][0] == FULL["routes"][0]
    assert result["ips"] == FULL["ips"]


def test_without_a_version_the_oldest_is_spoken(multus: Multus) -> None:
    assert result_in(multus, None)["cniVersion"] == "0.1.0"
    assert multus.bin.calls[0].conf["cniVersion"] == "0.1.0"


def test_the_highest_common_version_is_taken(multus: Multus) -> None:
    offered = ["0.3.1", "1.0.0", "7.0.0"]
    assert result_in(multus, "0.4.0", cniVersions=offered)["cniVersion"] == "1.0.0"


def test_an_old_result_is_read_from_a_new_delegate(multus: Multus) -> None:
    old = {"cniVersion": "0.2.0", "ip4": {"ip": "10.3.0.2/24", "routes": [{"dst": "10.0.0.0/8"}]}}
    multus.bin.stand_in("fake", ADD=Reply.json(old))
    result = multus.add(multus.conf({"type": "fake"}), Container(NETNS)).result
    assert result["ips"] == [{"address": "10.3.0.2/24"}]
    assert result["routes"] == [{"dst": "10.0.0.0/8"}]


def test_a_delegate_of_its_own_version_is_spoken_to_in_it(multus: Multus) -> None:
    multus.bin.stand_in("fake")
    conf = multus.conf({"type": "fake", "cniVersion": "0.3.1"}, cniVersion="1.1.0")
    assert multus.add(conf, Container(NETNS)).result["cniVersion"] == "1.1.0"
    assert multus.bin.calls[0].conf["cniVersion"] == "0.3.1"


def test_a_delegate_that_knows_older_versions_only_is_spoken_to_in_its_newest(
    multus: Multus, cni_container: Container
) -> None:
    # A delegate that checks: 1.0.0 is its newest, as it is for many plugins in use.
    script = b"""#!/bin/sh
[ $CNI_COMMAND = VERSION ] && {
    echo '{"cniVersion": "1.0.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0"]}'; exit 0; }
conf=$(cat)
case $conf in
*'"cniVersion":"1.0.0"'*) echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.9.0.2/24"}]}' ;;
*) echo '{"cniVersion": "1.0.0", "code": 1, "msg": "incompatible CNI versions"}'; exit 1 ;;
esac
"""
    multus.bin.file("old", script)
    conf = multus.conf({"type": "old"}, cniVersion="1.1.0")
    result = multus.add(conf, cni_container).result
    assert (result["cniVersion"], result["ips"]) == ("1.1.0", [{"address": "10.9.0.2/24"}])
    multus.delete(conf, cni_container, result).require()
    assert multus.records() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_real_delegates_answer_in_every_version(
    multus: Multus, cni_container: Container, version: str
) -> None:
    multus.bin.real("ptp", "host-local")
    ipam = {"type": "host-local", "subnet": "10.6.0.0/24", "dataDir": multus.ipam_dir}
    conf = multus.conf({"type": "ptp", "ipam": ipam}, cniVersion=version)
    before = multus.node.state(multus.ipam_dir)
    result = multus.add(conf, cni_container).result
    assert result["cniVersion"] == version
    address = result["ip4"]["ip"] if version < "0.3.0" else result["ips"][0]["address"]
    assert address == "10.6.0.2/24"
    multus.delete(conf, cni_container, result).require()
    assert before.difference(multus.node.state(multus.ipam_dir)) == []
