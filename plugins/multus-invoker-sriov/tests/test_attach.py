"""A VF on its way into a container and home again."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from multus.api.errors import CheckFailed, CNIError, InvalidConfig, TryAgainLater, UnknownContainer
from multus.api.result import Result
from multus.netlink import Namespace
from multus.testing.netns import Netns

if TYPE_CHECKING:
    from conftest import Bench

RANGE = {"type": "host-local", "subnet": "10.56.217.0/24", "routes": [{"dst": "0.0.0.0/0"}]}
MAC = "02:00:00:00:00:aa"


@pytest.mark.parametrize("bench", ["veth", "macvlan"], indirect=True)
def test_a_vf_is_moved_into_the_container_and_restored(bench: Bench) -> None:
    before = bench.snapshot()
    config = bench.config(ipam=RANGE, vlan=100, mac=MAC, trust="on")
    result = bench.add(config)
    assert "enp2s0v0" not in bench.node.links()
    link = bench.pod.links()["net1"]
    assert (link.mac, link.up) == (MAC, True)
    assert bench.pod.addresses("net1") == ["10.56.217.2/24"]
    default = bench.pod.ip("route", "show", "default")
    assert [(route["gateway"], route["dev"]) for route in default] == [("10.56.217.1", "net1")]
    interface = {"name": "net1", "mac": MAC, "mtu": 1500, "sandbox": bench.pod.path}
    assert result.to_wire("1.1.0") == {
        "cniVersion": "1.1.0",
        "interfaces": [{**interface, "pciID": "0000:03:02.0"}],
        "ips": [{"interface": 0, "address": "10.56.217.2/24", "gateway": "10.56.217.1"}],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {},
    }
    bench.delete(config)
    assert bench.snapshot() == before
    assert bench.pod.links() == {}
    assert bench.files() == []


def test_north_with_vlan_210_and_no_address(bench: Bench) -> None:
    # The first documentation's example, on the stand-in card.
    config = bench.config(if0="enp2s0", vlan=210, if0name="north", l2enable=True)
    result = bench.add(config, ifname="net1")
    assert bench.told() == ["set VLAN 210, priority 0, protocol 0x8100 on VF 0"]
    assert bench.pod.addresses("north") == []
    assert result.interfaces[0].name == "north"
    assert result.ips == ()
    bench.delete(config)
    assert bench.told()[1:] == ["set VLAN 0, priority 0, protocol 0x8100 on VF 0"]
    assert "enp2s0v0" in bench.node.links()
    assert bench.files() == []


def test_the_first_plugins_example_with_addresses(bench: Bench) -> None:
    ipam = {
        "type": "host-local",
        "subnet": "10.56.217.0/24",
        "rangeStart": "10.56.217.171",
        "rangeEnd": "10.56.217.181",
        "routes": [{"dst": "0.0.0.0/0"}],
        "gateway": "10.56.217.1",
    }
    config = bench.config(if0="enp2s0", ipam=ipam)
    result = bench.add(config, ifname="net0")
    assert bench.pod.addresses("net0") == ["10.56.217.171/24"]
    assert result.interfaces[0].pci_id == bench.card.vf(0)
    assert bench.told() == []
    bench.delete(config, ifname="net0")
    assert bench.told() == []


def test_every_attribute_is_set_and_put_back(bench: Bench) -> None:
    was = ["set VLAN 7, priority 1, protocol 0x8100 on VF 0", "set trust on on VF 0"]
    earlier = bench.config(vlan=7, vlanQoS=1, trust="on")
    bench.invoker.port.apply(_messages(bench, earlier))
    config = bench.config(
        vlan=210,
        vlanQoS=5,
        vlanProto="802.1ad",
        mac=MAC,
        spoofchk="off",
        trust="off",
        link_state="enable",
        min_tx_rate=10,
        max_tx_rate=100,
    )
    bench.add(config)
    assert bench.told()[2:] == [
        "set VLAN 210, priority 5, protocol 0x88a8 on VF 0",
        f"set MAC {MAC} on VF 0",
        "set rate 10 to 100 Mbit/s on VF 0",
        "set spoof checking off on VF 0",
        "set trust off on VF 0",
        "set link state enable on VF 0",
    ]
    bench.delete(config)
    assert bench.told()[8:] == [
        was[0],
        "set MAC 00:00:00:00:00:00 on VF 0",
        "set rate 0 to 0 Mbit/s on VF 0",
        "set spoof checking on on VF 0",
        was[1],
        "set link state auto on VF 0",
    ]


def _messages(bench: Bench, config: dict[str, Any]) -> list[Any]:
    from multus_invoker_sriov import vf
    from multus_invoker_sriov.conf import SriovConf

    conf = SriovConf.read(bench.invocation("ADD", config))
    pf = bench.node.links()["enp2s0"].index
    made = vf.messages(conf.applied_to(vf.VfState()), pf, 0)
    return [made[name] for name in ("vlan", "trust")]


def test_what_a_trusted_container_changed_is_put_back_too(bench: Bench) -> None:
    from multus_invoker_sriov import vf

    config = bench.config(trust="on")
    bench.add(config)
    pf = bench.node.links()["enp2s0"].index
    bench.card.port.apply([vf.set_mac(pf, 0, "02:00:00:00:00:bb")])
    bench.delete(config)
    assert "set MAC 00:00:00:00:00:00 on VF 0" in bench.told()


def test_mtu_and_mac_that_the_container_changed_are_put_back(bench: Bench) -> None:
    before = bench.snapshot()
    config = bench.config()
    bench.add(config)
    bench.pod.ip("link", "set", "net1", "mtu", "1400", "address", "02:00:00:00:00:cc")
    bench.delete(config)
    assert bench.snapshot() == before


def test_a_vf_that_was_up_on_the_host_is_up_again(bench: Bench) -> None:
    bench.node.ip("link", "set", "enp2s0v0", "up")
    before = bench.snapshot()
    config = bench.config()
    bench.add(config)
    bench.delete(config)
    assert bench.snapshot() == before


def test_an_interface_that_the_container_renamed_is_found(bench: Bench) -> None:
    before = bench.snapshot()
    config = bench.config(mac=MAC)
    bench.add(config)
    bench.pod.ip("link", "set", "net1", "down")
    bench.pod.ip("link", "set", "net1", "name", "mine")
    bench.delete(config)
    assert bench.snapshot() == before


def test_a_name_that_is_taken_on_the_host_does_not_lose_the_vf(bench: Bench) -> None:
    config = bench.config()
    bench.add(config)
    bench.node.ip("link", "add", "enp2s0v0", "type", "bridge")
    bench.delete(config)
    assert "vf000003020" in bench.node.links()
    assert bench.files() == []


def test_a_vf_with_the_name_that_the_container_wants_goes_in(bench: Bench) -> None:
    # The host has an interface of the container's name, as eth0 mostly is.
    bench.node.ip("link", "set", "enp2s0v1", "name", "net1")
    before = bench.snapshot()
    config = bench.config()
    bench.add(config)
    bench.delete(config)
    assert bench.snapshot() == before


def test_del_twice_and_del_without_add_succeed(bench: Bench) -> None:
    config = bench.config(ipam=RANGE)
    bench.delete(config)
    bench.add(config)
    bench.delete(config)
    bench.delete(config)
    assert bench.files() == []


def test_del_after_the_namespace_is_gone_restores_and_frees(bench: Bench) -> None:
    config = bench.config(ipam=RANGE, vlan=100)
    bench.add(config)
    bench.pod.remove()
    # A real VF is returned by the kernel, under any name; the stand-in dies with the namespace.
    bench.node.ip("link", "add", "enp2s0v0", "mtu", "1400", "type", "veth", "peer", "name", "x")
    bench.delete(config)
    assert bench.told()[-1] == "set VLAN 0, priority 0, protocol 0x8100 on VF 0"
    assert bench.node.links()["enp2s0v0"].mtu == 1500
    assert bench.files() == []


def test_del_after_the_namespace_and_the_link_are_gone_succeeds(bench: Bench) -> None:
    config = bench.config(ipam=RANGE)
    bench.add(config)
    bench.pod.remove()
    bench.delete(config)
    assert bench.files() == []


def test_del_after_the_card_lost_its_vfs_succeeds(bench: Bench) -> None:
    config = bench.config(ipam=RANGE, vlan=100)
    bench.add(config)
    (bench.state.parent / "sys/bus/pci/devices" / bench.card.vf(0) / "physfn").unlink()
    bench.delete(config)
    assert bench.files() == []


def test_a_second_container_does_not_get_a_vf_that_is_taken(bench: Bench) -> None:
    config = bench.config(ipam=RANGE)
    bench.add(config)
    before = bench.files()
    with pytest.raises(TryAgainLater) as caught:
        bench.add(config, container_id="c2", ifname="net2")
    assert bench.pod.path in caught.value.msg
    assert bench.files() == before


def test_a_second_add_of_the_same_container_is_refused_and_harms_nothing(bench: Bench) -> None:
    config = bench.config(ipam=RANGE)
    bench.add(config)
    with pytest.raises(InvalidConfig):
        bench.add(config)
    assert bench.pod.addresses("net1") == ["10.56.217.2/24"]


def test_any_free_vf_of_the_card_is_taken_until_there_is_none(bench: Bench) -> None:
    config = bench.config(if0="enp2s0", l2enable=True)
    given = [
        bench.add(config, container_id=f"c{i}", ifname=f"net{i}").interfaces[0].pci_id
        for i in range(3)
    ]
    assert given == [bench.card.vf(i) for i in range(3)]
    with pytest.raises(TryAgainLater) as caught:
        bench.add(config, container_id="late", ifname="late")
    assert "all 3 are in use" in caught.value.msg
    bench.delete(config, container_id="c1", ifname="net1")
    again = bench.add(config, container_id="late", ifname="late")
    assert again.interfaces[0].pci_id == bench.card.vf(1)


def test_adds_at_once_get_a_vf_each_and_one_of_two_gets_one_vf(bench: Bench) -> None:
    config = bench.config(if0="enp2s0", l2enable=True)

    def at_once(call: Callable[[int], object]) -> list[object]:
        def one(index: int) -> object:
            with Namespace(bench.node.path) as host, host.entered():
                try:
                    return call(index)
                except TryAgainLater:
                    return "refused"

        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(one, range(4)))

    def add(index: int) -> object:
        result = bench.add(config, container_id=f"c{index}", ifname=f"net{index}")
        return result.interfaces[0].pci_id

    given = at_once(add)
    assert given.count("refused") == 1
    assert {each for each in given if each != "refused"} == {bench.card.vf(i) for i in range(3)}
    at_once(lambda index: bench.delete(config, container_id=f"c{index}", ifname=f"net{index}"))
    assert bench.files() == []
    one_vf = bench.config(l2enable=True)

    def same(index: int) -> object:
        return bench.add(one_vf, container_id=f"c{index}", ifname=f"net{index}").interfaces[0].name

    assert at_once(same).count("refused") == 3


def test_a_mark_of_a_dead_container_is_stale_and_its_vf_is_restored_first(bench: Bench) -> None:
    dead = Netns.create("dead")
    config = bench.config(vlan=100)
    caller = bench.caller("dead", "net1")
    invocation = caller.invocation("ADD", config)
    bench.invoker.add(_in(invocation, dead.path))
    dead.remove()
    bench.node.ip("link", "add", "enp2s0v0", "type", "veth", "peer", "name", "x")
    later = bench.config(trust="on")
    bench.add(later)
    assert bench.told()[1:] == [
        "set VLAN 0, priority 0, protocol 0x8100 on VF 0",
        "set trust on on VF 0",
    ]
    # The late DEL of the dead one leaves the VF to whom it belongs by now.
    bench.invoker.delete_one(_in(caller.invocation("DEL", config), dead.path))
    assert "net1" in bench.pod.links()
    assert bench.told()[3:] == []
    bench.delete(later)
    assert bench.files() == []


def test_a_vf_that_the_kernel_has_not_returned_yet_is_not_given_away(bench: Bench) -> None:
    dead = Netns.create("dead")
    invocation = bench.caller("dead", "net1").invocation("ADD", bench.config(vlan=100))
    bench.invoker.add(_in(invocation, dead.path))
    dead.remove()
    with pytest.raises(TryAgainLater) as caught:
        bench.add(bench.config())
    assert "has not returned it yet" in caught.value.msg
    assert bench.files() == ["sriov/dead-net1", "sriov/pci/0000:03:02.0"]


def _in(invocation: Any, netns: str) -> Any:
    from attrs import evolve

    return evolve(invocation, request=evolve(invocation.request, netns=netns))


def test_a_record_in_the_binarys_form_is_carried_out(bench: Bench) -> None:
    config = bench.config(vlan=100)
    before = bench.snapshot()
    bench.add(config)
    path = bench.state / "sriov" / "c1-net1"
    record = json.loads(path.read_text())
    assert record["OrigVfState"]["HostIFName"] == "enp2s0v0"
    assert (record["Master"], record["VFID"], record["deviceID"]) == ("enp2s0", 0, "0000:03:02.0")
    # What the binary does not write: its records say neither whose they are nor what they set.
    record["multus"] = {"kind": "veth"}  # which a real VF has not
    record["OrigVfState"]["SpoofChk"] = True
    path.write_text(json.dumps(record))
    bench.delete(config)
    state = {name: each[:2] for name, each in bench.snapshot().items()}
    assert state == {name: each[:2] for name, each in before.items()}
    assert bench.files() == []


def test_an_unreadable_record_does_not_block_del(bench: Bench) -> None:
    folder = bench.state / "sriov"
    folder.mkdir(parents=True)
    for text in ("", "{", "[]", "{}", "\0\0"):
        (folder / "c1-net1").write_text(text)
        bench.delete(bench.config())
        assert not (folder / "c1-net1").exists() or text.strip("\0") == ""


def test_an_interface_name_that_is_taken_in_the_container_is_refused(bench: Bench) -> None:
    bench.pod.ip("link", "add", "net1", "type", "bridge")
    before = bench.snapshot()
    with pytest.raises(InvalidConfig) as caught:
        bench.add(bench.config())
    assert "already exists" in caught.value.msg
    assert bench.snapshot() == before
    assert bench.files() == []


def test_the_hosts_own_namespace_is_refused(bench: Bench) -> None:
    invocation = bench.invocation("ADD", bench.config())
    with pytest.raises(InvalidConfig):
        bench.invoker.add(_in(invocation, bench.node.path))
    with pytest.raises(UnknownContainer):
        bench.invoker.add(_in(invocation, "/run/netns/no-such"))


@pytest.mark.parametrize(
    "ipam",
    [
        {"type": "host-local", "subnet": "10.1.0.0/33"},
        {"type": "static"},
        {"type": "no-such-plugin"},
        {"type": "static", "addresses": [{"address": "10.1.0.1/24"}], "routes": [{"dst": "x/y"}]},
    ],
)
def test_an_add_without_addresses_touches_no_vf(bench: Bench, ipam: dict[str, Any]) -> None:
    before = bench.snapshot()
    with pytest.raises(CNIError):
        bench.add(bench.config(ipam=ipam, vlan=100, mac=MAC))
    assert bench.snapshot() == before
    assert (bench.pod.links(), bench.files(), bench.told()) == ({}, [], [])


def test_an_add_that_fails_returns_the_vf(bench: Bench) -> None:
    before = bench.snapshot()
    not_on_the_link = {"dst": "10.2.0.0/16", "gw": "192.0.2.1"}
    addresses = [{"address": "10.1.0.1/24"}]
    ipam = {"type": "static", "addresses": addresses, "routes": [not_on_the_link]}
    with pytest.raises(CNIError):
        bench.add(bench.config(ipam=ipam, vlan=100, mac=MAC))
    assert bench.snapshot() == before
    assert bench.pod.links() == {}
    assert bench.files() == []
    assert bench.told()[-2:] == [
        "set VLAN 0, priority 0, protocol 0x8100 on VF 0",
        "set MAC 00:00:00:00:00:00 on VF 0",
    ]


def test_both_families_are_announced_to_the_neighbours(bench: Bench) -> None:
    ipam = {
        "type": "static",
        "addresses": [
            {"address": "10.1.0.7/24", "gateway": "10.1.0.1"},
            {"address": "fd00:1::7/64", "gateway": "fd00:1::1"},
        ],
        "routes": [{"dst": "::/0"}, {"dst": "0.0.0.0/0"}],
    }
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
        wire.bind(("enp2s0w0", 0))
        wire.settimeout(5)
        bench.add(bench.config(ipam=ipam, mac=MAC))
        frames = _frames(wire, 2)
    mac = bytes.fromhex(MAC.replace(":", ""))
    assert {frame[:6].hex() for frame in frames} == {"ffffffffffff", "333300000001"}
    assert all(frame[6:12] == mac for frame in frames)
    v6 = bench.pod.ip("-6", "route", "show", "default")
    assert [route["gateway"] for route in v6] == ["fd00:1::1"]


def _frames(wire: socket.socket, count: int) -> list[bytes]:
    """Announcements: ARP requests, and advertisements to all nodes that override."""
    found: list[bytes] = []
    while len(found) < count:
        frame = wire.recv(2048)
        is_arp = frame[12:14] == b"\x08\x06" and frame[20:22] == b"\x00\x01"
        is_advertisement = frame[12:14] == b"\x86\xdd" and frame[54:55] == b"\x88"
        if is_arp and any(each[12:14] == b"\x08\x06" for each in found):
            continue
        if is_arp or (is_advertisement and frame[62:78] == socket.inet_pton(10, "fd00:1::7")):
            found.append(frame)
    return found


def test_check_accepts_what_add_made_and_says_what_changed(bench: Bench) -> None:
    config = bench.config(ipam=RANGE, vlan=100, spoofchk="off")
    result = bench.add(config)

    def check() -> None:
        bench.invoker.check(bench.invocation("CHECK", config, result))

    check()
    default = "route add default via 10.56.217.1"
    for change, named, back in (
        ("address del 10.56.217.2/24 dev net1", "10.56.217.2", "address add 10.56.217.2/24"),
        ("link set net1 down", "down", f"link set up dev net1; {default}"),
        ("route del default", "0.0.0.0/0", default),
    ):
        bench.pod.ip(*change.split())
        with pytest.raises(CheckFailed, match=re.escape(named)):
            check()
        for each in back.split("; "):
            bench.pod.ip(*each.split(), *(() if "dev" in each else ("dev", "net1")))
    check()
    from multus_invoker_sriov import vf

    pf = bench.node.links()["enp2s0"].index
    bench.card.port.apply([vf.set_vlan(pf, 0, 101, 0, 0x8100)])
    with pytest.raises(CheckFailed) as caught:
        check()
    assert "vlan" in caught.value.msg
    bench.delete(config)
    with pytest.raises(CheckFailed):
        check()


def test_gc_returns_the_vfs_of_invalid_attachments(bench: Bench) -> None:
    config = bench.config(if0="enp2s0", ipam=RANGE)
    for index in range(2):
        bench.add(config, container_id=f"c{index}", ifname=f"net{index}")
    valid = [bench.caller("c1", "net1")]
    bench.invoker.gc(bench.caller().invocation("GC", config, valid=valid))
    assert [*bench.pod.links()] == ["net1"]
    assert [name for name in bench.files() if "networks" in name] == [
        "networks/sriov-net/10.56.217.3"
    ]
    other = {**config, "name": "other"}
    bench.invoker.gc(bench.caller().invocation("GC", other))
    assert [*bench.pod.links()] == ["net1"]


def test_status_says_that_the_card_is_missing(bench: Bench) -> None:
    from multus.api.errors import NotAvailable

    for config in (bench.config(), bench.config(if0="enp2s0")):
        bench.invoker.status(bench.invocation("STATUS", config))
    for config in (bench.config(if0="nope"), bench.config(deviceID="0000:99:00.0")):
        with pytest.raises(NotAvailable):
            bench.invoker.status(bench.invocation("STATUS", config))


def test_a_separate_log_file_has_the_steps(bench: Bench) -> None:
    path = bench.state.parent / "sriov.log"
    config = bench.config(logFile=str(path), logLevel="debug")
    bench.add(config)
    bench.delete(config)
    assert "0000:03:02.0" in path.read_text()


def test_files_are_for_their_owner_only(bench: Bench) -> None:
    bench.add(bench.config())
    for path in (bench.state / "sriov").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_nothing_to_report_is_an_interface_without_addresses(bench: Bench) -> None:
    result = bench.add(bench.config())
    assert result == Result(result.interfaces)
    assert result.to_wire("0.2.0") == {"cniVersion": "0.2.0", "dns": {}}
