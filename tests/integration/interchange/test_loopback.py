"""The reference loopback and the in-process one set up, check and set down the same interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.interchange.test_ptp import WAYS
from multus.api.errors import CNIError, InvalidConfig
from multus.testing.runtime import CallFailed

if TYPE_CHECKING:
    from integration.interchange.conftest import Json, Place, Side

LOOPBACK: Json = {"cniVersion": "1.0.0", "name": "lo", "type": "loopback"}


def is_up(place: Place) -> bool:
    (lo,) = place.pod.ip("link", "show", "lo")
    return "UP" in lo["flags"]


@pytest.fixture(autouse=True)
def _down(place: Place) -> None:
    place.pod.ip("link", "set", "lo", "down")


@pytest.mark.parametrize(("first", "second"), WAYS)
def test_what_one_set_up_the_other_checks_and_sets_down(
    place: Place, sides: dict[str, Side], first: str, second: str
) -> None:
    result = sides[first].add(place, LOOPBACK)
    sides[second].check(place, LOOPBACK, result)
    sides[second].delete(place, LOOPBACK, result)
    assert not is_up(place)
    with pytest.raises((CNIError, CallFailed)):
        sides[first].check(place, LOOPBACK, result)


def test_both_report_alike(place: Place, sides: dict[str, Side]) -> None:
    results = [side.add(place, LOOPBACK) for side in sides.values()]
    assert results[0] == results[1]
    assert [each["address"] for each in results[0]["ips"]] == ["127.0.0.1/8", "::1/128"]
    before = {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": place.pod.path}]}
    for side in sides.values():
        assert side.add(place, LOOPBACK, before)["interfaces"] == before["interfaces"]


def test_del_succeeds_without_the_namespace(place: Place, ours: Side) -> None:
    ours.add(place, LOOPBACK)
    place.pod.remove()
    ours.delete(place, LOOPBACK)


def test_an_address_that_is_no_loopback_address_is_named(place: Place, ours: Side) -> None:
    place.pod.ip("address", "add", "192.0.2.1/24", "dev", "lo")
    with pytest.raises(InvalidConfig, match=r"192\.0\.2\.1/24"):
        ours.add(place, LOOPBACK)


def test_del_succeeds_when_the_container_has_renamed_it(place: Place, ours: Side) -> None:
    result = ours.add(place, LOOPBACK)
    for change in (("down",), ("name", "renamed")):
        place.pod.ip("link", "set", "lo", *change)
    ours.delete(place, LOOPBACK, result)
