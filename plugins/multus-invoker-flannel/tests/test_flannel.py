"""What flannel's lease and configuration make of the delegated plugin's configuration."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from multus_invoker_flannel import KEYS, multus_invoker, store
from multus_invoker_flannel.invoker import Flannel

from multus.api.errors import (
    CNIError,
    DecodingFailure,
    InvalidConfig,
    IOFailure,
    NotAvailable,
    TryAgainLater,
)
from multus.api.invoker import Declined
from multus.api.network import Delegate, Invocation, Plugin, Provenance
from multus.inprocess import forget
from multus.testing.invocation import Caller

LEASE = {
    "FLANNEL_NETWORK": "10.244.0.0/16",
    "FLANNEL_SUBNET": "10.244.3.1/24",
    "FLANNEL_MTU": "1450",
    "FLANNEL_IPMASQ": "true",
}


@frozen
class Place:
    folder: Path

    def lease(self, **changes: str | None) -> None:
        lines = {**LEASE, **changes}
        text = "".join(f"{key}={value}\n" for key, value in lines.items() if value is not None)
        (self.folder / "subnet.env").write_text(text)

    def invocation(
        self, verb: str = "ADD", ifname: str = "eth0", valid: Any = (), **config: Any
    ) -> Invocation:
        whole = {
            "cniVersion": "1.1.0",
            "name": "cbr0",
            "type": "flannel",
            "subnetFile": str(self.folder / "subnet.env"),
            "dataDir": str(self.folder / "flannel"),
            **config,
        }
        return Caller("c1", ifname=ifname).invocation(verb, whole, valid=valid)

    def computed(self, **config: Any) -> Mapping[str, Any]:
        return Flannel().inner(self.invocation(**config)).invocation.config

    def files(self) -> list[str]:
        return sorted(os.listdir(self.folder / "flannel"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.lease()
    return made


def test_a_bridge_with_the_nodes_subnet_is_computed(place: Place) -> None:
    assert place.computed() == {
        "type": "bridge",
        "name": "cbr0",
        "cniVersion": "1.1.0",
        "ipMasq": False,
        "mtu": 1450,
        "isGateway": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.244.3.0/24"}]],
            "routes": [{"dst": "10.244.0.0/16"}],
        },
    }


def test_what_delegate_has_precedes_what_is_computed(place: Place) -> None:
    inner = {"type": "ptp", "ipMasq": True, "mtu": 1300, "dns": {"domain": "example.org"}}
    found = place.computed(delegate=inner)
    assert {key: found[key] for key in inner} == inner
    assert "isGateway" not in found
    assert place.computed(delegate={"isGateway": False})["isGateway"] is False


def test_the_runtimes_requests_are_passed_on(place: Place) -> None:
    asked = {"portMappings": [{"hostPort": 80, "containerPort": 80}]}
    assert place.computed(runtimeConfig=asked)["runtimeConfig"] == asked


@pytest.mark.parametrize("key", ["name", "ipam"])
def test_delegate_may_not_have_what_flannel_sets(place: Place, key: str) -> None:
    with pytest.raises(InvalidConfig, match=f"'delegate.{key}' is set"):
        place.computed(delegate={key: {}})


@pytest.mark.parametrize(
    ("changes", "ranges", "routes"),
    [
        (
            {"FLANNEL_NETWORK": None, "FLANNEL_SUBNET": None},
            ["fd44:0:0:3::/64"],
            ["fd44::/48"],
        ),
        ({}, ["10.244.3.0/24", "fd44:0:0:3::/64"], ["10.244.0.0/16", "fd44::/48"]),
        (
            {"FLANNEL_NETWORK": "10.244.0.0/16,10.245.0.0/16,10.244.9.9/16"},
            ["10.244.3.0/24", "fd44:0:0:3::/64"],
            ["10.244.0.0/16", "10.245.0.0/16", "fd44::/48"],
        ),
    ],
)
def test_both_families_have_ranges_and_routes(
    place: Place, changes: dict[str, Any], ranges: list[str], routes: list[str]
) -> None:
    six = {"FLANNEL_IPV6_NETWORK": "fd44::/48", "FLANNEL_IPV6_SUBNET": "fd44:0:0:3::1/64"}
    place.lease(**six, **changes)
    pool = place.computed()["ipam"]
    assert [each["subnet"] for (each,) in pool["ranges"]] == ranges
    assert [each["dst"] for each in pool["routes"]] == routes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"FLANNEL_MTU": None, "FLANNEL_IPMASQ": None}, "no FLANNEL_MTU, no FLANNEL_IPMASQ"),
        ({"FLANNEL_SUBNET": None}, "no FLANNEL_SUBNET or FLANNEL_IPV6_SUBNET"),
        ({"FLANNEL_SUBNET": "10.244.3.1"}, "FLANNEL_SUBNET is not a network"),
        ({"FLANNEL_NETWORK": "10.244.0.0/16,"}, "FLANNEL_NETWORK is not a network"),
        ({"FLANNEL_MTU": "-1"}, "FLANNEL_MTU is not a number"),
        ({"FLANNEL_MTU": "9" * 5000}, "FLANNEL_MTU is not a number"),
    ],
)
def test_what_is_wrong_with_a_lease_is_named(
    place: Place, changes: dict[str, Any], said: str
) -> None:
    place.lease(**changes)
    for verb in (Flannel().prepare, Flannel().add):
        with pytest.raises(DecodingFailure, match=said):
            verb(place.invocation())


def test_without_a_lease_an_add_is_tried_again_later(place: Place) -> None:
    os.unlink(place.folder / "subnet.env")
    with pytest.raises(TryAgainLater, match=r"subnet\.env does not exist"):
        Flannel().prepare(place.invocation())
    with pytest.raises(NotAvailable, match=r"subnet\.env does not exist"):
        Flannel().status(place.invocation("STATUS"))
    os.mkdir(place.folder / "subnet.env")
    with pytest.raises(IOFailure):
        Flannel().prepare(place.invocation())


def test_status_is_that_of_the_delegated_plugin_too(place: Place) -> None:
    Flannel().status(place.invocation("STATUS"))
    with pytest.raises(NotAvailable, match="delegated plugin 'nowhere'"):
        Flannel().status(place.invocation("STATUS", delegate={"type": "nowhere"}))


def forgotten(invocation: Invocation) -> None:
    kept = store.load(invocation)
    if kept is not None:
        forget(kept.path)
    store.forget_unfinished(invocation)


class TestFiles:
    def test_two_networks_of_a_container_have_a_file_each(self, place: Place) -> None:
        first = place.invocation()
        second = place.invocation(ifname="net1", name="other")
        store.save(first, {"name": "cbr0", "type": "bridge"})
        store.save(second, {"name": "other", "type": "ptp"})
        assert place.files() == ["c1", "c1_net1"]
        for each, kind in ((first, "bridge"), (second, "ptp")):
            kept = store.load(each)
            assert kept is not None and kept.config["type"] == kind
        forgotten(second)
        forgotten(second)
        assert place.files() == ["c1"]
        assert store.load(second) is None
        forgotten(first)
        assert place.files() == []

    def test_one_network_twice_has_a_file_each(self, place: Place) -> None:
        for ifname in ("eth0", "net1"):
            store.save(place.invocation(ifname=ifname), {"name": "cbr0", "type": ifname})
        kept = store.load(place.invocation(ifname="net1"))
        assert kept is not None and kept.config["type"] == "net1"
        forgotten(place.invocation(ifname="eth0"))
        assert place.files() == ["c1_net1"]

    def test_the_references_file_is_read(self, place: Place) -> None:
        os.mkdir(place.folder / "flannel")
        (place.folder / "flannel" / "c1").write_text('{"name": "cbr0", "type": "macvlan"}')
        kept = store.load(place.invocation())
        assert kept is not None and kept.config["type"] == "macvlan"
        assert store.load(place.invocation(name="other")) is None

    def test_gc_removes_those_of_containers_that_are_gone(self, place: Place) -> None:
        os.mkdir(place.folder / "flannel")
        files = {
            "gone": {"name": "cbr0"},
            "kept": {"name": "cbr0"},
            "ours": {"name": "cbr0", "multus.ifname": "eth0"},
            "ours_net1": {"name": "cbr0", "multus.ifname": "net1"},
            "foreign": {"name": "other"},
        }
        for name, content in files.items():
            (place.folder / "flannel" / name).write_text(json.dumps({**content, "type": "bridge"}))
        (place.folder / "flannel" / "damaged").write_text("{")
        valid = [Caller("kept"), Caller("ours", ifname="eth0")]
        pool = {"dataDir": str(place.folder / "networks")}
        Flannel().gc(place.invocation("GC", valid=valid, ipam=pool))
        assert place.files() == ["damaged", "foreign", "kept", "ours"]

    def test_a_path_that_is_no_folder_is_named(self, place: Place) -> None:
        (place.folder / "flannel").write_text("a file")
        with pytest.raises(IOFailure, match=r"flannel/c1 cannot be written"):
            store.save(place.invocation(), {"name": "cbr0"})


def offer(provenance: Provenance, **config: Any) -> object:
    plugin = Plugin({"type": "flannel", **config})
    delegate = Delegate("cbr0", (plugin,), "1.0.0", provenance=provenance)
    return multus_invoker(plugin, delegate, Caller().invocation("ADD", {"type": "x"}).conf)


@pytest.mark.parametrize(
    ("path", "served"),
    [
        ("/run/flannel/second.env", True),
        ("/run/flannel/../../etc/shadow", False),
        ("/etc/shadow", False),
    ],
)
def test_a_tenants_lease_is_in_flannels_folder(path: str, served: bool) -> None:
    assert isinstance(offer(Provenance.NODE, subnetFile=path), Flannel)
    answer = offer(Provenance.TENANT, subnetFile=path)
    assert isinstance(answer, Flannel if served else Declined)


def test_other_keys_are_left_to_the_binary() -> None:
    assert isinstance(offer(Provenance.NODE, **dict.fromkeys(KEYS, "x")), Flannel)
    answer = offer(Provenance.NODE, subnetLen=24)
    assert isinstance(answer, Declined) and "'subnetLen'" in answer.reason


@pytest.mark.parametrize("inner", [[], {"name": "mine"}, {"type": "../sh"}, {"type": "flannel"}])
def test_a_del_of_what_add_refuses_succeeds(place: Place, inner: Any) -> None:
    with pytest.raises(CNIError):
        Flannel().add(place.invocation(delegate=inner))
    Flannel().delete_one(place.invocation("DEL", delegate=inner))
