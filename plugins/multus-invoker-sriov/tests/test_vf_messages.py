"""The messages to the card equal pyroute2's, attribute by attribute."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from multus_invoker_sriov import vf
from multus_invoker_sriov.vf import VfState
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from multus.netlink import Message
from multus.testing.sriov import reply

MAC = "02:00:00:00:00:aa"
PF, VF = 12, 3

#: Ours, and the attribute that pyroute2 makes of the same wish.
CASES: dict[str, tuple[Message, tuple[str, Any]]] = {
    "VLAN": (
        vf.set_vlan(PF, VF, 210, 5, 0x88A8),
        (
            "IFLA_VF_VLAN_LIST",
            {"attrs": [("IFLA_VF_VLAN_INFO", {"vf": VF, "vlan": 210, "qos": 5, "proto": 0x88A8})]},
        ),
    ),
    "MAC": (vf.set_mac(PF, VF, MAC), ("IFLA_VF_MAC", {"vf": VF, "mac": MAC})),
    "rates": (
        vf.set_rate(PF, VF, 10, 2**32 - 1),
        ("IFLA_VF_RATE", {"vf": VF, "min_tx_rate": 10, "max_tx_rate": 2**32 - 1}),
    ),
    "spoof checking": (
        vf.set_spoofchk(PF, VF, False),
        ("IFLA_VF_SPOOFCHK", {"vf": VF, "spoofchk": 0}),
    ),
    "trust": (vf.set_trust(PF, VF, True), ("IFLA_VF_TRUST", {"vf": VF, "trust": 1})),
    "link state": (
        vf.set_link_state(PF, VF, 2),
        ("IFLA_VF_LINK_STATE", {"vf": VF, "link_state": 2}),
    ),
}


def decoded(message: Message) -> tuple[int, int, Any]:
    """The message's type, interface index and one VF attribute, as pyroute2 reads its bytes."""
    read = ifinfmsg(message.encode(1))
    read.decode()
    infos = read.get_attr("IFLA_VFINFO_LIST").get_attrs("IFLA_VF_INFO")
    assert len(infos) == 1
    assert len(infos[0]["attrs"]) == 1
    return read["header"]["type"], read["index"], _plain(infos[0]["attrs"][0])


def _plain(attribute: Any) -> tuple[str, Any]:
    name, value = attribute[0], attribute[1]
    if "attrs" in value:
        return name, {"attrs": [_plain(each) for each in value["attrs"]]}
    return name, dict(value)


@pytest.mark.parametrize("case", CASES)
def test_pyroute2_reads_what_is_meant(case: str) -> None:
    message, meant = CASES[case]
    assert decoded(message) == (19, PF, meant)  # RTM_SETLINK


@pytest.mark.parametrize("case", [each for each in CASES if each not in ("MAC", "VLAN")])
def test_pyroute2_makes_the_same_bytes(case: str) -> None:
    # pyroute2 makes those two shorter than the kernel's structs, see the next test.
    message, meant = CASES[case]
    theirs = ifinfmsg()
    theirs["index"] = PF
    theirs["attrs"] = [("IFLA_VFINFO_LIST", {"attrs": [("IFLA_VF_INFO", {"attrs": [meant]})]})]
    theirs["header"].update({"type": 19, "flags": 5, "sequence_number": 7})
    theirs.encode()
    assert message.encode(7) == bytes(theirs.data)


@pytest.mark.parametrize(("case", "size"), [("MAC", 36), ("VLAN", 16)])
def test_structs_have_the_kernels_size(case: str, size: int) -> None:
    # sizeof(struct ifla_vf_mac) and, its padding included, of struct ifla_vf_vlan_info: the kernel
    # refuses what is shorter.
    body = CASES[case][0].body
    found = body[16:]
    for _ in range(4 if case == "VLAN" else 3):
        length, found = int.from_bytes(found[:2], "little"), found[4:]
    assert length == 4 + size == 4 + len(found)


def test_pyroute2_asks_for_vfs_as_we_do() -> None:
    theirs = ifinfmsg()
    theirs["index"] = PF
    theirs["attrs"] = [("IFLA_EXT_MASK", 1 | 8)]
    theirs["header"].update({"type": 18, "flags": 5, "sequence_number": 7})
    theirs.encode()
    assert vf.get(PF).encode(7) == bytes(theirs.data)


WANTED = VfState(MAC, 210, 5, 0x88A8, False, True, 2, 10, 100)


def test_the_attributes_that_were_set_are_read_back() -> None:
    told = list(vf.messages(WANTED, PF, 1).values())
    body = reply(PF, 3, told)
    assert vf.read(body, 1) == WANTED
    assert vf.read(body, 0) == vf.read(body, 2) == VfState(spoofchk=True, trust=False)
    assert vf.read(body, 3) is None


def test_an_answer_is_read_as_pyroute2_reads_it() -> None:
    body = reply(PF, 2, list(vf.messages(WANTED, PF, 1).values()))
    read = ifinfmsg(Message(16, 0, body, "").encode(1))
    read.decode()
    info = read.get_attr("IFLA_VFINFO_LIST").get_attrs("IFLA_VF_INFO")[1]
    assert info.get_attr("IFLA_VF_MAC")["mac"] == WANTED.mac
    assert info.get_attr("IFLA_VF_RATE")["max_tx_rate"] == WANTED.max_rate
    vlan = info.get_attr("IFLA_VF_VLAN_LIST").get_attr("IFLA_VF_VLAN_INFO")
    assert (vlan["vlan"], vlan["qos"], vlan["proto"]) == (210, 5, 0x88A8)


def test_switches_that_a_driver_does_not_report_are_unknown() -> None:
    unknown = [
        each._replace(body=each.body[:-4] + b"\xff" * 4)
        for each in (vf.set_spoofchk(PF, 0, True), vf.set_trust(PF, 0, True))
    ]
    state = vf.read(reply(PF, 1, unknown), 0)
    assert state is not None
    assert (state.spoofchk, state.trust) == (None, None)


def _words(before: VfState, now: VfState, *changed: str) -> list[str]:
    return [each.words for each in vf.restoring(before, now, frozenset(changed), PF, 0)]


def test_only_what_was_changed_or_differs_is_restored() -> None:
    before = VfState(spoofchk=True, trust=False)
    assert _words(before, before) == []
    assert _words(before, before, "vlan") == [
        "set VLAN 0, priority 0, protocol 0x8100 on VF 0 of interface 12"
    ]
    assert _words(before, evolve(before, mac=MAC)) == [
        "set MAC 00:00:00:00:00:00 on VF 0 of interface 12"
    ]


def test_a_switch_that_was_set_blindly_goes_off() -> None:
    before = VfState()
    assert _words(before, before, "trust", "spoofchk") == [
        "set spoof checking off on VF 0 of interface 12",
        "set trust off on VF 0 of interface 12",
    ]
    assert _words(before, evolve(before, trust=True)) == []
