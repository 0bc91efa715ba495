"""What is particular to ptp: routes, older versions, resolvers, DEL without a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from integration.interchange.conftest import Both, Json, Place

WAYS = [("ours", "reference"), ("reference", "ours")]

FAMILIES = {
    "IPv4": [("10.91.0.0/24", "10.91.0.7/24", "10.91.0.1", "0.0.0.0/0")],
    "IPv6": [("fd91::/64", "fd91::7/64", "fd91::1", "::/0")],
    "dual": [
        ("10.91.0.0/24", "10.91.0.7/24", "10.91.0.1", "0.0.0.0/0"),
        ("fd91::/64", "fd91::7/64", "fd91::1", "::/0"),
    ],
}


def config_of(place: Place, kind: str, family: str, **more: Any) -> Json:
    """A ptp configuration with IPAM of this kind, for these families, each with a default route."""
    sets = FAMILIES[family]
    routes = [{"dst": default} for _, _, _, default in sets]
    pool: Json = {"type": kind, "routes": routes}
    if kind == "host-local":
        pool["ranges"] = [[{"subnet": subnet}] for subnet, _, _, _ in sets]
        pool["dataDir"] = str(place.folder)
    else:
        pool["addresses"] = [{"address": own, "gateway": via} for _, own, via, _ in sets]
    return {"cniVersion": "1.0.0", "name": "interchange", "type": "ptp", "ipam": pool, **more}


@pytest.mark.parametrize(
    "more",
    [
        {"routes": [{"dst": "10.200.0.0/16", "gw": "10.91.0.1"}, {"dst": "0.0.0.0/0"}]},
        {"routes": [{"dst": "10.200.0.0/16", "gw": "10.91.0.9"}]},
        {"routes": []},
    ],
    ids=["two routes", "a route by another gateway", "no route"],
)
def test_both_attach_alike_with_other_routes(both: Both, more: dict[str, Any]) -> None:
    def config(place: Place) -> Json:
        found = config_of(place, "host-local", "IPv4")
        found["ipam"] |= more
        return found

    both.require_alike(both.attach(config))


@pytest.mark.parametrize("version", ["0.2.0", "0.3.1", "0.4.0"])
def test_both_attach_alike_in_older_versions(both: Both, version: str) -> None:
    attached = both.attach(
        lambda place: config_of(place, "host-local", "dual") | {"cniVersion": version}
    )
    shown = [each.place.comparable(each.result) for each in attached]
    assert shown[0] == shown[1]
    for each in attached:
        each.other.delete(each.place, each.config)
        assert each.place.left() == []


def test_both_report_the_same_resolver(both: Both) -> None:
    dns = {
        "nameservers": ["10.91.0.1"],
        "domain": "example",
        "search": ["a", "b"],
        "options": ["x"],
    }

    def config(place: Place) -> Json:
        found = config_of(place, "static", "IPv4", dns=dns)
        found["ipam"]["dns"] = {"nameservers": ["192.0.2.1"]}
        return found

    assert [each.result["dns"] for each in both.attach(config)] == [dns, dns]


@pytest.mark.parametrize("masquerading", [False, True], ids=["plain", "masquerading"])
def test_the_other_detaches_without_the_result(both: Both, masquerading: bool) -> None:
    for each in both.attach(
        lambda place: config_of(place, "host-local", "IPv4", ipMasq=masquerading)
    ):
        each.other.delete(each.place, each.config)
        assert each.place.left() == []
