"""Addresses in configurations: what an ADD refuses, and what networks do to one another."""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.cli.conftest import Command

from multus.cli.pools import handed_out
from multus.ipam.addresses import Address

File = Callable[[str, "str | dict[str, Any]"], Path]


def node(*delegates: dict[str, Any]) -> dict[str, Any]:
    return {"name": "n", "type": "multus", "cniVersion": "1.0.0", "delegates": list(delegates)}


def ptp(name: str = "a", **options: Any) -> dict[str, Any]:
    return {"name": name, "type": "ptp", "ipam": {"type": "host-local", **options}}


def found(said: Any) -> list[tuple[str, str, str]]:
    """The findings, without the one about what only the node has."""
    listed = [each for each in said.json["findings"] if each["subject"] != "node"]
    return [(each["severity"], each["subject"], each["reason"]) for each in listed]


REFUSED = {
    "no ranges": ptp(),
    "no subnet": ptp(ranges=[[{}]]),
    "no block": ptp(subnet="10.1.0.0"),
    "host bits": ptp(subnet="10.1.0.7/24"),
    "a bound outside": ptp(subnet="10.1.0.0/24", rangeStart="10.2.0.1"),
    "bounds exchanged": ptp(subnet="10.1.0.0/24", rangeStart="10.1.0.9", rangeEnd="10.1.0.5"),
    "an overlap in a set": ptp(ranges=[[{"subnet": "10.1.0.0/24"}, {"subnet": "10.1.0.0/25"}]]),
    "an overlap of sets": ptp(ranges=[[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/25"}]]),
    "a route to nowhere": ptp(subnet="10.1.0.0/24", routes=[{"dst": "default"}]),
    "a static address without prefix": {
        "name": "a",
        "type": "ptp",
        "ipam": {"type": "static", "addresses": [{"address": "10.1.0.7"}]},
    },
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_an_add_refuses_is_an_error_at_its_place(
    multus: Command, file: File, case: str
) -> None:
    said = multus("validate", "--json", "-f", file("multus.conf", node(REFUSED[case])))
    ((severity, subject, reason),) = found(said)
    assert severity == "error" and subject.startswith("delegates[0].ipam")
    assert not reason.startswith(("network 'a'", "ipam"))
    assert said.status == 1


def test_a_binarys_own_keys_are_its_own_affair(multus: Command, file: File) -> None:
    said = multus("validate", "--json", "-f", file("multus.conf", node(ptp(flavour="new"))))
    assert found(said) == []


def test_ranges_that_the_runtime_names_may_be_missing(multus: Command, file: File) -> None:
    asked = {**ptp(), "capabilities": {"ipRanges": True}}
    assert found(multus("validate", "--json", "-f", file("multus.conf", node(asked)))) == []


def test_networks_that_hand_out_the_same_addresses_are_noted(multus: Command, file: File) -> None:
    one, other = ptp("one", subnet="10.1.0.0/24"), ptp("two", subnet="10.1.0.128/25")
    apart = ptp("three", subnet="10.2.0.0/24")
    again = ptp("one", subnet="10.1.0.0/24")
    said = multus("validate", "--json", "-f", file("multus.conf", node(one, other, apart, again)))
    notes = [(subject, reason) for severity, subject, reason in found(said) if severity == "note"]
    assert [subject for subject, _ in notes] == ["delegates[1].ipam", "delegates[3].ipam"]
    assert notes[0][1].startswith(
        "networks 'one' and 'two' both allocate 10.1.0.129/32, 10.1.0.130"
    )
    assert said.status == 0


def test_objects_are_compared_too(multus: Command, file: File) -> None:
    objects = [
        {
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name},
            "spec": {"config": json.dumps({"type": "ptp", "ipam": options})},
        }
        for name, options in (
            ("blue", {"type": "host-local", "subnet": "10.1.0.0/24"}),
            ("green", {"type": "whereabouts", "range": "10.1.0.7-10.1.0.9/24"}),
            ("red", {"type": "host-local", "subnet": "10.9.0.0/33"}),
        )
    ]
    path = file("objects.json", {"kind": "List", "apiVersion": "v1", "items": objects})
    listed = found(multus("validate", "--json", "-f", path))
    assert [each for each in listed if "'blue' and 'green'" in each[2]] != []
    assert [each[0] for each in listed if "10.9.0.0/33" in each[2]] == ["error"]


EXCLUDES = {
    "192.168.2.229/30": "",
    "10.0.0.0/8": "is outside the range, so it excludes nothing",
    "192.168.2.0/24": "the range has no addresses left",
    "some": "is not a CIDR block",
}


@pytest.mark.parametrize("block", EXCLUDES)
def test_excluded_blocks_are_of_the_range_and_leave_some(
    multus: Command, file: File, block: str
) -> None:
    options = {"type": "whereabouts", "range": "192.168.2.224/28", "exclude": [block]}
    config = node({"name": "a", "type": "ptp", "ipam": options})
    listed = found(multus("validate", "--json", "-f", file("multus.conf", config)))
    if not EXCLUDES[block]:
        assert listed == []
    else:
        ((severity, subject, reason),) = listed
        assert (severity, subject) == ("warning", "delegates[0].ipam.exclude[0]")
        assert EXCLUDES[block] in reason


MACS = {
    "02:00:5e:00:53:01": None,
    "02:00:5E:00:53:01": None,
    "0200.5e00.5301": ("warning", "02:00:5e:00:53:01"),
    "02-00-5e-00-53-01": ("warning", "02:00:5e:00:53:01"),
    "02005e005301": ("warning", "02:00:5e:00:53:01"),
    "2:0:5e:0:53:1": ("warning", "02:00:5e:00:53:01"),
    "01:00:5e:00:53:01": ("error", "use an address such as"),
    "00:00:00:00:00:00": ("error", "use an address such as"),
    "nobody": ("error", "write it as"),
}


@pytest.mark.parametrize("mac", MACS)
def test_hardware_addresses_are_understood_in_every_form(
    multus: Command, file: File, mac: str
) -> None:
    config = node({"name": "a", "type": "macvlan", "mac": mac})
    said = multus("validate", "--json", "-f", file("multus.conf", config))
    expected = MACS[mac]
    findings = said.json["findings"]
    if expected is None:
        assert findings == []
    else:
        (finding,) = findings
        assert (finding["severity"], finding["subject"]) == (expected[0], "delegates[0].mac")
        assert expected[1] in finding["fix"]


def test_without_netaddr_a_note_says_what_to_install(
    multus: Command, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "netaddr", None)
    config = node({"name": "a", "type": "macvlan", "mac": "nobody"}, ptp("b"))
    said = multus("validate", "--json", "-f", file("multus.conf", config))
    assert [each["severity"] for each in said.json["findings"]] == ["note", "error"]
    assert said.json["findings"][0]["fix"] == "pip install 'multus[cli]'"


@st.composite
def ranges(draw: st.DrawFn) -> tuple[str, str, str]:
    address = draw(st.ip_addresses())
    bits = address.max_prefixlen
    network = ipaddress.ip_network(f"{address}/{draw(st.integers(bits - 20, bits - 2))}", False)
    place = st.integers(0, network.num_addresses - 1).map(lambda at: str(network[at]))
    first, last = draw(place), draw(place)
    return str(network), first, last


@given(ranges(), st.booleans())
def test_a_pool_is_what_host_local_hands_out(given: tuple[str, str, str], bounded: bool) -> None:
    from multus.api.errors import InvalidConfig
    from multus.ipam._ranges import RangeSet

    subnet, first, last = given
    options = {"subnet": subnet, **({"rangeStart": first, "rangeEnd": last} if bounded else {})}
    pool = handed_out({"type": "host-local", **options})
    try:
        ours = RangeSet.from_wire([options], "test")
    except InvalidConfig:
        return  # told by another check
    (only,) = ours.ranges
    assert pool.size == only.end.value - only.start.value + 1
    for end in (only.start, only.end):
        assert str(end) in pool
        assert Address.parse(str(end)) == end


def nad(kind: str, **options: Any) -> dict[str, Any]:
    config = {"cniVersion": "1.0.0", "type": kind, "master": "eth1", "ipam": options}
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "lan", "namespace": "default"},
        "spec": {"config": json.dumps(config)},
    }


@pytest.mark.parametrize(
    ("document", "warned"),
    [
        (nad("macvlan", type="host-local", subnet="10.1.0.0/24"), True),
        (nad("ipvlan", type="host-local", ranges=[[{"subnet": "10.1.0.0/24"}]]), True),
        (nad("bridge", type="host-local", subnet="10.1.0.0/24"), False),
        (nad("macvlan", type="whereabouts", range="10.1.0.0/24"), False),
        (nad("macvlan", type="host-local"), False),
        (node({**ptp(subnet="10.1.0.0/24"), "type": "macvlan", "master": "eth1"}), False),
    ],
)
def test_host_local_on_a_network_that_spans_nodes_is_warned_of(
    multus: Command, file: File, document: dict[str, Any], warned: bool
) -> None:
    said = found(multus("validate", "--json", "-f", file("lan.json", document)))
    reasons = [reason for severity, _, reason in said if severity == "warning"]
    assert any("spans nodes" in each for each in reasons) == warned
