"""Which configurations are served, and which are left to the binary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import multus_ipam_whereabouts
import pytest

from multus.api.invoker import Declined
from multus.api.network import Provenance
from multus.testing.invocation import Caller

CALLER = Caller(conf={"kubeconfig": "/etc/kubeconfig"})
TENANT = Caller(conf=CALLER.conf, provenance=Provenance.TENANT)


def reason(keys: Mapping[str, Any], caller: Caller = CALLER, kind: str = "whereabouts") -> str:
    """Why an ``ipam`` object is declined; "" when it is served, "not mine" for another type."""
    config = {"type": "macvlan", "ipam": {"type": kind, **keys}}
    offer = multus_ipam_whereabouts.multus_ipam(kind, caller.invocation("ADD", config))
    if offer is None:
        return "not mine"
    return offer.reason if isinstance(offer, Declined) else ""


def test_its_type_and_no_other() -> None:
    assert reason({"range": "10.1.0.0/16", "node_slice_size": "/24"}) == ""
    assert reason({}, kind="host-local") == "not mine"


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"sleep_for_race": 1}, "sleep_for_race"),
        ({"ipRanges": [{"range": "10.1.0.0/16", "step": 2}]}, "ipRanges.step"),
        ({"kubernetes": {"context": "a"}}, "kubernetes.context"),
        ({"datastore": "etcd"}, "datastore"),
    ],
)
def test_what_is_unknown_is_left_to_the_binary(keys: dict[str, Any], named: str) -> None:
    assert named in reason(keys)


def test_a_range_with_blocks_is_never_left_to_the_binary(tmp_path: Path) -> None:
    flat = tmp_path / "whereabouts.conf"
    flat.write_text('{"range": "10.1.0.0/16", "block": 28}')
    for keys in ({"range": "10.1.0.0/16", "block": 28}, {"configuration_path": str(flat)}):
        assert "unknown" in reason({"range": "10.1.0.0/16", "unknown": 1})
        assert reason({**keys, "unknown": 1}) == ""


def test_without_an_api_server_the_binary_is_run() -> None:
    assert "no 'kubeconfig'" in reason({}, Caller())


def test_a_tenant_names_no_file_of_the_node(tmp_path: Path) -> None:
    usual = "/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig"
    for path in (str(tmp_path), "/etc/cni/net.d/whereabouts.d/../../../shadow"):
        for keys in ({"kubernetes": {"kubeconfig": path}}, {"configuration_path": path}):
            assert "outside whereabouts.d" in reason(keys, TENANT)
        assert reason({"configuration_path": path}) == ""
    assert reason({"kubernetes": {"kubeconfig": usual}}, TENANT) == ""
