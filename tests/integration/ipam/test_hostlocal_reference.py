"""host-local in-process gives the same answers and files as the reference plugin, case by case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from multus.testing.invocation import Caller

if TYPE_CHECKING:
    from integration.ipam.conftest import Bench

SMALL = {"subnet": "10.1.0.0/29"}
V6 = {"subnet": "fd00:1::/64"}


def _pool(*sets: object, **more: Any) -> dict[str, Any]:
    pool: dict[str, Any] = {"type": "host-local", **more}
    return {**pool, "ranges": list(sets)} if sets else pool


#: Configurations that both sides serve, as (ipam, rest of the configuration, CNI_ARGS).
SERVED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "one range": (_pool([SMALL]), {}, ""),
    "the form without ranges": (_pool(**SMALL), {}, ""),
    "the form without ranges, and ranges": (_pool([V6], **SMALL), {}, ""),
    "bounds": (_pool(**SMALL, rangeStart="10.1.0.3", rangeEnd="10.1.0.5"), {}, ""),
    "a bound below the first": (
        _pool(subnet="10.1.0.0/29", rangeStart="10.1.0.0", rangeEnd="10.1.0.7"),
        {},
        "",
    ),
    "a gateway in the middle": (_pool(**SMALL, gateway="10.1.0.3"), {}, ""),
    "a gateway outside": (_pool(**SMALL, gateway="192.0.2.1"), {}, ""),
    "a gateway of the other family": (_pool(**SMALL, gateway="fe80::1"), {}, ""),
    "IPv6": (_pool([V6]), {}, ""),
    "IPv6 written long": (
        _pool([{"subnet": "FD00:0001:0:0:0:0:0:0/64", "rangeStart": "fd00:1:0:0:0:0:0:A0"}]),
        {},
        "",
    ),
    "IPv6 with two runs of zeros": (
        _pool([{"subnet": "fd00:0:0:1::/64", "rangeStart": "fd00:0:0:1:0:1:0:0"}]),
        {},
        "",
    ),
    "IPv6 up to its last": (
        _pool([{"subnet": "fd00:1::/126", "rangeStart": "fd00:1::2"}]),
        {},
        "",
    ),
    "dual stack": (_pool([SMALL], [V6]), {}, ""),
    "a set of two ranges": (_pool([{"subnet": "10.1.0.0/30"}, {"subnet": "10.2.0.0/30"}]), {}, ""),
    "two sets of one family": (_pool([SMALL], [{"subnet": "10.2.0.0/29"}]), {}, ""),
    "routes": (
        _pool(
            [SMALL],
            [V6],
            routes=[
                {"dst": "0.0.0.0/0"},
                {"dst": "10.9.8.7/16", "gw": "10.1.0.1"},
                {"dst": "2001:DB8::/32", "gw": "FD00:1::1"},
                {"dst": "::/0", "gw": ""},
            ],
        ),
        {},
        "",
    ),
    "empty texts": (_pool(**SMALL, gateway="", rangeStart="", rangeEnd="", resolvConf=""), {}, ""),
    "nulls": (_pool(**SMALL, gateway=None, routes=None, ranges=None), {}, ""),
    "requested by runtimeConfig": (_pool([SMALL]), {"runtimeConfig": {"ips": ["10.1.0.5"]}}, ""),
    "requested with its prefix": (_pool([SMALL]), {"runtimeConfig": {"ips": ["10.1.0.5/29"]}}, ""),
    "requested by args": (_pool([SMALL]), {"args": {"cni": {"ips": ["10.1.0.4"]}}}, ""),
    "requested by CNI_ARGS": (_pool([SMALL]), {}, "IP=10.1.0.6"),
    "requested for each set": (
        _pool([SMALL], [V6]),
        {"runtimeConfig": {"ips": ["fd00:1:0::7", "10.1.0.5"]}},
        "",
    ),
    "requested for one set of two": (
        _pool([SMALL], [V6]),
        {"runtimeConfig": {"ips": ["fd00:1::7"]}},
        "",
    ),
    "requested as an IPv4-mapped address": (
        _pool([SMALL]),
        {"runtimeConfig": {"ips": ["::ffff:10.1.0.5"]}},
        "",
    ),
    "the first address past the bounds requested": (
        _pool(**SMALL, rangeStart="10.1.0.0", rangeEnd="10.1.0.7"),
        {"runtimeConfig": {"ips": ["10.1.0.7"]}},
        "",
    ),
    "ipRanges come first": (
        _pool([V6]),
        {"runtimeConfig": {"ipRanges": [[{"subnet": "10.5.0.0/29"}]]}},
        "",
    ),
    "ipRanges alone": (_pool(), {"runtimeConfig": {"ipRanges": [[{"subnet": "10.5.0.0/29"}]]}}, ""),
    "unknown arguments that may be ignored": (_pool([SMALL]), {}, "IgnoreUnknown=1;K8S_POD_NAME=a"),
    "an empty request": (_pool([SMALL]), {}, "IP=;IgnoreUnknown=true"),
    "a result of 0.2.0": (_pool([SMALL], [V6]), {"cniVersion": "0.2.0"}, ""),
    "a result of 0.4.0": (_pool([SMALL], [V6]), {"cniVersion": "0.4.0"}, ""),
}

#: Configurations that both sides refuse, without reserving an address.
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no range": (_pool(), {}, ""),
    "bounds without a subnet": (_pool(rangeStart="10.1.0.3"), {}, ""),
    "an empty set": (_pool([]), {}, ""),
    "a range without a subnet": (_pool([{"gateway": "10.1.0.1"}]), {}, ""),
    "a subnet that is none": (_pool(subnet="10.1.0.0"), {}, ""),
    "an empty subnet": (_pool(subnet=""), {}, ""),
    "a prefix too long": (_pool(subnet="10.1.0.0/33"), {}, ""),
    "a prefix of words": (_pool(subnet="10.1.0.0/x"), {}, ""),
    "an octet of eight": (_pool(subnet="010.1.0.0/24"), {}, ""),
    "host bits": (_pool(subnet="10.1.0.4/24"), {}, ""),
    "a subnet of two": (_pool(subnet="10.1.0.0/31"), {}, ""),
    "an IPv4-mapped subnet": (_pool(subnet="::ffff:10.1.0.0/120"), {}, ""),
    "a number for a subnet": (_pool(subnet=10), {}, ""),
    "a start outside": (_pool(**SMALL, rangeStart="10.2.0.1"), {}, ""),
    "an end outside": (_pool(**SMALL, rangeEnd="10.2.0.1"), {}, ""),
    "a start of the other family": (_pool(**SMALL, rangeStart="fd00::1"), {}, ""),
    "a start past the end": (_pool(**SMALL, rangeStart="10.1.0.5", rangeEnd="10.1.0.3"), {}, ""),
    "an end before the first": (_pool(**SMALL, rangeEnd="10.1.0.0"), {}, ""),
    "a gateway that is none": (_pool(**SMALL, gateway="router"), {}, ""),
    "mixed families": (_pool([SMALL, V6]), {}, ""),
    "an overlap in a set": (_pool([SMALL, {"subnet": "10.1.0.0/28"}]), {}, ""),
    "an overlap of sets": (_pool([SMALL], [{"subnet": "10.1.0.0/28"}]), {}, ""),
    "an overlap with ipRanges": (_pool([SMALL]), {"runtimeConfig": {"ipRanges": [[SMALL]]}}, ""),
    "two of a family in 0.2.0": (
        _pool([SMALL], [{"subnet": "10.2.0.0/29"}]),
        {"cniVersion": "0.2.0"},
        "",
    ),
    "a route to a name": (_pool([SMALL], routes=[{"dst": "default"}]), {}, ""),
    "a route by a name": (_pool([SMALL], routes=[{"dst": "::/0", "gw": "router"}]), {}, ""),
    "a requested address that is none": (_pool([SMALL]), {"runtimeConfig": {"ips": ["x"]}}, ""),
    "the gateway requested": (_pool([SMALL]), {"runtimeConfig": {"ips": ["10.1.0.1"]}}, ""),
    "an address outside requested": (_pool([SMALL]), {"runtimeConfig": {"ips": ["10.9.0.1"]}}, ""),
    "two of one set requested": (
        _pool([SMALL], [V6]),
        {"runtimeConfig": {"ips": ["10.1.0.4", "10.1.0.5"]}},
        "",
    ),
    "an address in CNI_ARGS that is none": (_pool([SMALL]), {}, "IP=x"),
    "unknown arguments": (_pool([SMALL]), {}, "K8S_POD_NAME=a"),
    "no such resolvConf": (_pool([SMALL], resolvConf="/no/such/file"), {}, ""),
}


@pytest.mark.parametrize("case", SERVED)
def test_results_and_stores_are_equal_until_the_range_runs_out(bench: Bench, case: str) -> None:
    pool, more, args = SERVED[case]
    for caller in bench.callers(8, args=args):
        outcomes = [
            bench.outcome(side, caller, bench.config(pool, side.name, **more))
            for side in bench.sides
        ]
        assert outcomes[0] == outcomes[1], caller
        assert bench.files("ours") == bench.files("reference"), caller
    assert "last_reserved_ip.0" in bench.files("ours")


@pytest.mark.parametrize("case", SERVED)
def test_addresses_are_freed_and_the_next_is_another(bench: Bench, case: str) -> None:
    pool, more, args = SERVED[case]
    first, second = bench.callers(2, args=args)
    for caller in (first, second, first):
        outcomes = []
        for side in bench.sides:
            config = bench.config(pool, side.name, **more)
            outcomes.append(bench.outcome(side, caller, config))
            side.delete(caller, config)
        assert outcomes[0] == outcomes[1] != "refused"
        assert bench.files("ours") == bench.files("reference")
    assert all(name.startswith("last_reserved_ip") for name in bench.files("ours"))


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_reference_refuses_is_refused_and_takes_nothing(bench: Bench, case: str) -> None:
    pool, more, args = REFUSED[case]
    caller = Caller(args=args)
    for side in bench.sides:
        with pytest.raises(bench.refusals):
            side.add(caller, bench.config(pool, side.name, **more))
    left = [name for name in bench.files("ours") if not name.startswith("last_reserved_ip")]
    assert not left


@pytest.mark.parametrize("requested", [[], ["10.1.0.2"]])
def test_a_container_that_has_an_address_gets_no_second(bench: Bench, requested: list[str]) -> None:
    pool, caller = _pool([SMALL]), Caller()
    again: dict[str, Any] = {"runtimeConfig": {"ips": requested}} if requested else {}
    for side in bench.sides:
        side.add(caller, bench.config(pool, side.name))
        with pytest.raises(bench.refusals):
            side.add(caller, bench.config(pool, side.name, **again))
    assert bench.files("ours") == bench.files("reference")
    assert bench.files("ours")["10.1.0.2"] == "c1\r\neth0"


def test_two_interfaces_of_a_container_have_one_each(bench: Bench) -> None:
    pool = _pool([SMALL])
    for side in bench.sides:
        config = bench.config(pool, side.name)
        side.add(Caller(ifname="eth0"), config)
        side.add(Caller(ifname="net1"), config)
        side.delete(Caller(ifname="eth0"), config)
    assert bench.files("ours") == bench.files("reference")
    assert bench.files("ours")["10.1.0.3"] == "c1\r\nnet1"


def test_resolver_settings_are_read_as_the_reference_reads_them(bench: Bench) -> None:
    path = bench.root / "resolv.conf"
    path.write_text(
        "# a comment\n  ; another\n\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 more\n"
        "domain first.example\n  domain last.example\nsearch a.example b.example\n"
        "search c.example\noptions ndots:2\toptions\nnameserver\n"
        "sortlist 192.0.2.0\n#nameserver 192.0.2.9\n"
    )
    pool = _pool([SMALL], resolvConf=str(path))
    results = [side.add(Caller(), bench.config(pool, side.name)) for side in bench.sides]
    assert results[0] == results[1]
    assert results[0]["dns"]["nameservers"] == ["192.0.2.1", "2001:db8::1"]


@pytest.mark.parametrize("way", [("ours", "reference"), ("reference", "ours")])
def test_what_one_adds_the_other_checks_and_deletes(bench: Bench, way: tuple[str, str]) -> None:
    adder, deleter = (getattr(bench, name) for name in way)
    config, caller = bench.config(_pool([SMALL], [V6])), Caller()
    result = adder.add(caller, config)
    deleter.check(caller, config, result)
    with pytest.raises(bench.refusals):
        deleter.add(caller, config)
    deleter.delete(caller, config)
    assert [*bench.files()] == ["last_reserved_ip.0", "last_reserved_ip.1"]
    with pytest.raises(bench.refusals):
        adder.check(caller, config, result)


@pytest.mark.parametrize("way", [("ours", "reference"), ("reference", "ours")])
def test_one_goes_on_where_the_other_stopped(bench: Bench, way: tuple[str, str]) -> None:
    first, second = (getattr(bench, name) for name in way)
    config = bench.config(_pool([SMALL]))
    one, two, three = bench.callers(3)
    first.add(one, config)
    assert second.add(two, config)["ips"][0]["address"] == "10.1.0.3/29"
    assert first.add(three, config)["ips"][0]["address"] == "10.1.0.4/29"


def test_files_of_old_releases_are_their_containers(bench: Bench) -> None:
    config = bench.config(_pool([SMALL]))
    for side in bench.sides:
        folder = bench.root / side.name / "net1"
        folder.mkdir(parents=True)
        (folder / "10.1.0.2").write_text("c1")
        here = bench.config(_pool([SMALL]), side.name)
        side.check(Caller(), here)
        with pytest.raises(bench.refusals):
            side.add(Caller(), here)
        side.delete(Caller(), here)
    assert bench.files("ours") == bench.files("reference") == {}
    assert config["ipam"]["dataDir"] == str(bench.root / "shared")


def test_check_fails_for_a_container_that_has_none(bench: Bench) -> None:
    for side in bench.sides:
        config = bench.config(_pool([SMALL]), side.name)
        side.add(Caller(), config)
        side.check(Caller(), config)
        with pytest.raises(bench.refusals):
            side.check(Caller(container_id="other"), config)
