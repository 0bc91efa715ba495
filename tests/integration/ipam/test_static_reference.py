"""static in-process answers what the reference plugin answers; its CHECK is stricter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from multus.testing.invocation import Caller

if TYPE_CHECKING:
    from integration.ipam.conftest import Bench

V4 = {"address": "10.10.0.1/24", "gateway": "10.10.0.254"}
V6 = {"address": "3ffe:FFFF:0:01ff::1/64", "gateway": "3ffe:ffff:0::1"}


def _pool(*addresses: object, **more: Any) -> dict[str, Any]:
    pool: dict[str, Any] = {"type": "static", **more}
    return {**pool, "addresses": list(addresses)} if addresses else pool


SERVED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "an address": (_pool(V4), {}, ""),
    "both families": (_pool(V4, V6), {}, ""),
    "no gateway": (_pool({"address": "10.10.0.1/32"}), {}, ""),
    "an empty gateway": (_pool({"address": "10.10.0.1/24", "gateway": ""}), {}, ""),
    "an IPv4-mapped address": (_pool({"address": "::ffff:10.0.0.5/120"}), {}, ""),
    "two of a family": (_pool(V4, {"address": "10.11.0.1/24"}), {}, ""),
    "no address": (_pool(), {}, ""),
    "routes": (
        _pool(V4, routes=[{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.10.5.1"}]),
        {},
        "",
    ),
    "dns": (
        _pool(
            V4,
            dns={
                "nameservers": ["8.8.8.8"],
                "domain": "example.com",
                "search": ["example.com", "b.example"],
                "options": ["ndots:2"],
            },
        ),
        {},
        "",
    ),
    "CNI_ARGS": (_pool(), {}, "IP=10.10.0.7/24;GATEWAY=10.10.0.254"),
    "CNI_ARGS, two": (
        _pool(),
        {},
        "IgnoreUnknown=1;FOO=bar;IP=10.10.0.7/24, 11.11.0.7/24;GATEWAY=10.10.0.254 , 11.11.0.254",
    ),
    "CNI_ARGS beside addresses": (
        _pool({"address": "10.10.0.1/24"}),
        {},
        "IP=10.10.0.7/24;GATEWAY=10.10.0.254",
    ),
    "args win over addresses and CNI_ARGS": (
        _pool(V4),
        {"args": {"cni": {"ips": ["10.20.0.1/24", "fd00::1/64"]}}},
        "IP=10.10.0.7/24",
    ),
    "runtimeConfig wins over args": (
        _pool(V4),
        {"args": {"cni": {"ips": ["10.20.0.1/24"]}}, "runtimeConfig": {"ips": ["10.30.0.1/24"]}},
        "",
    ),
    "a result of 0.2.0": (_pool(V4, V6), {"cniVersion": "0.2.0"}, ""),
}

REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "an address without a prefix": (_pool({"address": "10.10.0.1"}), {}, ""),
    "an address that is none": (_pool({"address": "x/24"}), {}, ""),
    "an address that is missing": (_pool({"gateway": "10.10.0.1"}), {}, ""),
    "a gateway that is none": (_pool({"address": "10.10.0.1/24", "gateway": "x"}), {}, ""),
    "a route to a name": (_pool(V4, routes=[{"dst": "default"}]), {}, ""),
    "CNI_ARGS without a prefix": (_pool(), {}, "IP=10.10.0.7"),
    "a gateway in CNI_ARGS that is none": (_pool(), {}, "IP=10.10.0.7/24;GATEWAY=x"),
    "unknown arguments": (_pool(V4), {}, "FOO=bar"),
    "args without a prefix": (_pool(), {"args": {"cni": {"ips": ["10.20.0.1"]}}}, ""),
    "runtimeConfig without a prefix": (_pool(), {"runtimeConfig": {"ips": ["10.20.0.1"]}}, ""),
    "two of a family in 0.2.0": (
        _pool(V4, {"address": "10.11.0.1/24"}),
        {"cniVersion": "0.2.0"},
        "",
    ),
    "a number for an address": (_pool({"address": 10}), {}, ""),
}


@pytest.mark.parametrize("case", SERVED)
def test_results_are_equal(bench: Bench, case: str) -> None:
    pool, more, args = SERVED[case]
    config, caller = bench.config(pool, **more), Caller(args=args)
    ours, reference = (side.add(caller, config) for side in bench.sides)
    assert ours == reference
    for side in bench.sides:
        side.delete(caller, config)
        side.delete(caller, config)


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_reference_refuses_is_refused(bench: Bench, case: str) -> None:
    pool, more, args = REFUSED[case]
    for side in bench.sides:
        with pytest.raises(bench.refusals):
            side.add(Caller(args=args), bench.config(pool, **more))


def test_check_accepts_what_add_reported(bench: Bench) -> None:
    config = bench.config(_pool(V4, V6))
    for adder in bench.sides:
        result = adder.add(Caller(), config)
        for checker in bench.sides:
            checker.check(Caller(), config, result)


def test_check_refuses_another_gateway(bench: Bench) -> None:
    config = bench.config(_pool(V4))
    result = bench.ours.add(Caller(), config)
    other = {**result, "ips": [{**result["ips"][0], "gateway": "10.10.0.9"}]}
    for side in bench.sides:
        with pytest.raises(bench.refusals):
            side.check(Caller(), config, other)


def test_check_without_a_result_is_refused(bench: Bench) -> None:
    for side in bench.sides:
        with pytest.raises(bench.refusals):
            side.check(Caller(), bench.config(_pool(V4)))


def test_check_refuses_an_address_that_is_not_reported(bench: Bench) -> None:
    result = bench.ours.add(Caller(), bench.config(_pool(V4)))
    with pytest.raises(bench.refusals):
        bench.ours.check(Caller(), bench.config(_pool(V6)), result)
