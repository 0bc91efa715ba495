"""A VF on its way into a container and home again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Bench

RANGE = {"type": "host-local", "subnet": "10.56.217.0/24", "routes": [{"dst": "0.0.0.0/0"}]}


@pytest.mark.parametrize("bench", ["veth", "macvlan"], indirect=True)
def test_a_vf_goes_into_the_container_and_comes_home_as_it_was(bench: Bench) -> None:
    before = bench.snapshot()
    config = bench.config(ipam=RANGE, vlan=100, mac="02:00:00:00:00:aa", trust="on")
    result = bench.add(config)
    assert "enp2s0v0" not in bench.node.links()
    link = bench.pod.links()["net1"]
    assert link["address"] == "02:00:00:00:00:aa"
    assert "UP" in link["flags"]
    assert bench.pod.addresses("net1") == ["10.56.217.2/24"]
    default = bench.pod.ip("route", "show", "default")
    assert [(route["gateway"], route["dev"]) for route in default] == [("10.56.217.1", "net1")]
    assert result.to_wire("1.1.0") == {
        "cniVersion": "1.1.0",
        "interfaces": [
            {
                "name": "net1",
                "mac": "02:00:00:00:00:aa",
                "mtu": 1500,
                "sandbox": bench.pod.path,
                "pciID": "0000:03:02.0",
            }
        ],
        "ips": [{"interface": 0, "address": "10.56.217.2/24", "gateway": "10.56.217.1"}],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {},
    }
    bench.delete(config)
    assert bench.snapshot() == before
    assert bench.pod.links() == {}
    assert bench.files() == []
