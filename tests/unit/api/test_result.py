from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from unit.values import results

from multus.api.errors import DecodingFailure, IncompatibleVersion
from multus.api.result import DNS, IP, Interface, Result, Route
from multus.api.versions import SUPPORTED, at_least

LISTS = [version for version in SUPPORTED if at_least(version, "0.3.0")]
OLD = [version for version in SUPPORTED if not at_least(version, "0.3.0")]
PLACES = ("mtu", "advmss", "priority", "table", "scope")


def narrowed(result: Result, version: str) -> Result:
    """The fields that *version* supports."""
    if at_least(version, "1.1.0"):
        return result
    routes = tuple(Route(each.dst, each.gw) for each in result.routes)
    if at_least(version, "0.3.0"):
        bare = (evolve(each, mtu=0, socket_path="", pci_id="") for each in result.interfaces)
        return evolve(result, interfaces=tuple(bare), routes=routes)
    kept = []
    for family in (4, 6):
        first = next((ip for ip in result.ips if ip.family == family), None)
        if first:
            kept.append(IP(first.address, first.gateway))
    families = [ip.family for ip in kept]
    sorted_routes = tuple(r for family in families for r in routes if r.family == family)
    return Result(ips=tuple(kept), routes=sorted_routes, dns=result.dns)


@given(results(), st.sampled_from(SUPPORTED))
def test_written_and_read_it_is_what_the_version_has_a_place_for(
    result: Result, version: str
) -> None:
    assert Result.from_wire(result.to_wire(version)) == narrowed(result, version)


@given(results(), st.lists(st.sampled_from(SUPPORTED), min_size=1, max_size=5))
def test_through_many_versions_only_what_one_of_them_lacks_is_lost(
    result: Result, path: list[str]
) -> None:
    went = expected = result
    for version in path:
        went = Result.from_wire(went.to_wire(version))
        expected = narrowed(expected, version)
    assert went == expected


@given(results(), st.sampled_from(SUPPORTED), st.sampled_from(SUPPORTED))
def test_an_older_form_survives_the_way_up_and_down_again(
    result: Result, one: str, other: str
) -> None:
    older, newer = sorted((one, other), key=SUPPORTED.index)
    wire = result.to_wire(older)
    up = Result.from_wire(wire).to_wire(newer)
    assert Result.from_wire(up).to_wire(older) == wire


@given(results(), st.sampled_from(SUPPORTED))
def test_a_form_has_only_the_keys_of_its_version(result: Result, version: str) -> None:
    wire = result.to_wire(version)
    assert wire.pop("cniVersion") == version
    assert set(wire.pop("dns")) <= {"nameservers", "domain", "search", "options"}
    if version in OLD:
        assert set(wire) <= {"ip4", "ip6"}
        for part in wire.values():
            assert set(part) <= {"ip", "gateway", "routes"}
        return
    assert set(wire) <= {"interfaces", "ips", "routes"}
    new = at_least(version, "1.1.0")
    links = {"name", "mac", "sandbox"} | ({"mtu", "socketPath", "pciID"} if new else set())
    routes = {"dst", "gw"} | (set(PLACES) if new else set())
    ips = {"address", "gateway", "interface"}
    ips |= set() if at_least(version, "1.0.0") else {"version"}
    for key, allowed in (("interfaces", links), ("routes", routes), ("ips", ips)):
        for each in wire.get(key, ()):
            assert set(each) <= allowed


@given(results(), st.integers(min_value=0, max_value=9))
def test_shifting_moves_the_addresses_with_their_interfaces(result: Result, by: int) -> None:
    ahead = tuple(Interface(f"other{number}") for number in range(by))
    moved = result.shifted(by)
    links = ahead + moved.interfaces
    for before, after in zip(result.ips, moved.ips, strict=True):
        if before.interface is None:
            assert after.interface is None
        else:
            assert after.interface is not None
            assert links[after.interface] == result.interfaces[before.interface]


class TestForms:
    """The specification's own examples of each age."""

    def test_before_0_3_0_routes_stand_with_their_family(self) -> None:
        raw = {
            "cniVersion": "0.2.0",
            "ip4": {"ip": "10.0.0.2/8", "gateway": "10.0.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
            "ip6": {"ip": "fd00::2/64", "routes": [{"dst": "::/0", "gw": "fd00::1"}]},
            "dns": {"nameservers": ["10.0.0.1"]},
        }
        result = Result.from_wire(raw)
        assert result == Result(
            ips=(IP("10.0.0.2/8", "10.0.0.1"), IP("fd00::2/64")),
            routes=(Route("0.0.0.0/0"), Route("::/0", "fd00::1")),
            dns=DNS(("10.0.0.1",)),
        )
        assert result.to_wire("0.2.0") == raw
        assert [ip["version"] for ip in result.to_wire("0.3.1")["ips"]] == ["4", "6"]

    def test_1_1_0_has_everything(self) -> None:
        raw = {
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": "eth0", "mac": "02:00:00:00:00:01", "mtu": 1400, "sandbox": "/x"},
                {"name": "net1", "socketPath": "/run/v.sock", "pciID": "0000:00:01.0"},
            ],
            "ips": [{"interface": 0, "address": "10.0.0.2/8", "gateway": "10.0.0.1"}],
            "routes": [
                {
                    "dst": "10.0.0.0/8",
                    "gw": "10.0.0.1",
                    "mtu": 1400,
                    "advmss": 1360,
                    "priority": 0,
                    "table": 100,
                    "scope": 253,
                }
            ],
            "dns": {},
        }
        assert Result.from_wire(raw).to_wire("1.1.0") == raw

    @pytest.mark.parametrize("nothing", [None, {}])
    def test_null_and_the_empty_object_are_the_empty_result(self, nothing: Any) -> None:
        assert Result.from_wire(nothing) == Result()

    def test_without_a_version_it_is_the_first(self) -> None:
        assert Result.from_wire({"ip4": {"ip": "10.0.0.2/8"}}).ips == (IP("10.0.0.2/8"),)


WRONG: list[dict[str, Any]] = [
    {"interfaces": 5},
    {"interfaces": {"name": "eth0"}},
    {"interfaces": ["eth0"]},
    {"interfaces": [{"name": 5}]},
    {"interfaces": [{"name": "eth0", "mtu": "1500"}]},
    {"interfaces": [{"name": "eth0", "mtu": True}]},
    {"ips": ["10.0.0.2/8"]},
    {"ips": [{"address": 5}]},
    {"ips": [{"address": "10.0.0.2/8", "interface": "0"}], "interfaces": [{"name": "eth0"}]},
    {"ips": [{"address": "10.0.0.2/8", "gateway": "router"}]},
    {"routes": [None]},
    {"routes": [{"dst": "10.0.0.0/8", "gw": "10.0.0.1/8"}]},
    {"dns": []},
    {"dns": ["10.0.0.1"]},
    {"dns": {"nameservers": "10.0.0.1"}},
    {"dns": {"nameservers": [5]}},
    {"dns": {"search": {"a": "b"}}},
]


@pytest.mark.parametrize("wrong", WRONG, ids=map(str, WRONG))
def test_an_invalid_result_cannot_be_decoded(wrong: dict[str, Any]) -> None:
    with pytest.raises(DecodingFailure):
        Result.from_wire({"cniVersion": "1.0.0", **wrong})


#: What libcni refuses as an address with its prefix length.
NOT_CIDR = ["", "default", "10.0.0.2", "10.0.0.2/33", "10.0.0.2/", "10.0.0.02/8", "::1/129", "a/8"]


@pytest.mark.parametrize("text", NOT_CIDR)
@pytest.mark.parametrize(("key", "field"), [("ips", "address"), ("routes", "dst")])
def test_an_address_without_its_prefix_length_is_refused_but_read_from_a_record(
    key: str, field: str, text: str
) -> None:
    raw = {"cniVersion": "1.0.0", key: [{field: text}]}
    with pytest.raises(DecodingFailure, match="CIDR"):
        Result.from_wire(raw)
    (read,) = getattr(Result.from_wire(raw, recorded=True), key)
    assert getattr(read, field) == text


@pytest.mark.parametrize("index", [-1, 1, 7])
def test_an_index_that_names_no_interface_leaves_the_address_without_one(index: int) -> None:
    raw = {"interfaces": [{"name": "eth0"}], "ips": [{"address": "10.0.0.2/8", "interface": index}]}
    result = Result.from_wire({"cniVersion": "1.0.0", **raw})
    assert result.ips == (IP("10.0.0.2/8"),)
    assert result.shifted(3).ips == result.ips


def test_an_entry_without_an_address_says_nothing_and_a_route_without_dst_is_the_default() -> None:
    raw = {"ips": [{}], "routes": [{}, {"gw": "10.0.0.1"}, {"gw": "fd00::1"}]}
    result = Result.from_wire({"cniVersion": "1.0.0", **raw})
    assert result.ips == ()
    assert [each.dst for each in result.routes] == ["0.0.0.0/0", "0.0.0.0/0", "::/0"]
    assert all(each.is_default for each in result.routes)


@pytest.mark.parametrize("raw", [[], [1], "", "fine", 0, 5, True])
def test_a_result_must_be_an_object(raw: Any) -> None:
    with pytest.raises(DecodingFailure):
        Result.from_wire(raw)


@pytest.mark.parametrize("version", ["9.0.0", "1.0", 1, ["1.0.0"]])
def test_an_unknown_version_is_incompatible(version: Any) -> None:
    with pytest.raises(IncompatibleVersion):
        Result.from_wire({"cniVersion": version})
    with pytest.raises(IncompatibleVersion):
        Result().to_wire(version)
