from __future__ import annotations

import pytest

from multus.api._paths import is_possible, is_within

PLACES = ("/var/lib/cni/networks", "/run/one/", "/etc/resolv.conf")


@pytest.mark.parametrize(
    "path",
    [
        "/var/lib/cni/networks",
        "/var/lib/cni/networks/",
        "/var/lib/cni/networks/team/a",
        "/run/one",
        "/run/one/two",
        "/etc/resolv.conf",
    ],
)
def test_a_place_and_what_is_beneath_it_are_within(path: str) -> None:
    assert is_within(path, PLACES)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "relative",
        "var/lib/cni/networks",
        "/",
        "/var/lib/cni",
        "/var/lib/cni/networks2",
        "/var/lib/cni/networks/../../../etc",
        "/var/lib/cni/networks/./a",
        "/var/lib/cni/networks//a",
        "//var/lib/cni/networks",
        "/var/lib/cni/networks/a//",
        "/var/lib/cni/networks/..",
        "/var/lib/cni/networks/a\0b",
        "/var/lib/cni/networks/\udc80",
        "/var/lib/cni/networks/\ud800",
        "/etc/resolv.conf.d",
    ],
)
def test_everything_else_is_outside(path: str) -> None:
    assert not is_within(path, PLACES)
    assert not is_within(path, ())


@pytest.mark.parametrize("path", ["", "x", "./x", "/a\0b", "/\ud800", "/\udcff"])
def test_an_invalid_path_is_reported(path: str) -> None:
    assert not is_possible(path)


def test_the_root_opens_everything_that_is_plain() -> None:
    assert is_within("/anything/at/all", ["/"])
    assert not is_within("/anything/../all", ["/"])
