"""What a change of a running container keeps, attaches and detaches."""

from __future__ import annotations

from typing import Any

import pytest

from multus.engine.difference import Asked, Difference, Had, New, difference


def had(index: int, network: str, ifname: str, requested: str = "", **options: Any) -> Had:
    return Had(index, network, ifname, requested, options)


A = had(1, "d/a", "net1")
B = had(2, "d/b", "net2")
A2 = had(3, "d/a", "net3", ips=["10.0.0.9"])
DATA = had(4, "d/a", "data0", "data0")


@pytest.mark.parametrize(
    ("asked", "before", "wanted"),
    [
        pytest.param([], [], Difference(), id="nothing"),
        pytest.param(
            [Asked("d/a"), Asked("d/b")],
            [],
            Difference(new=(New(0, "net1"), New(1, "net2"))),
            id="none to two",
        ),
        pytest.param([], [A, B], Difference(gone=(1, 2)), id="two to none"),
        pytest.param(
            [Asked("d/b")], [A, B], Difference(kept=(2,), gone=(1,)), id="names are not renumbered"
        ),
        pytest.param(
            [Asked("d/c")], [A, B], Difference(gone=(1, 2), new=(New(0, "net1"),)), id="another one"
        ),
        pytest.param(
            [Asked("d/b"), Asked("d/a")], [A, B], Difference(kept=(1, 2)), id="another order"
        ),
        pytest.param(
            [Asked("d/b"), Asked("d/c"), Asked("d/d")],
            [A, B],
            Difference(kept=(2,), gone=(1,), new=(New(1, "net1"), New(2, "net3"))),
            id="the lowest free name",
        ),
        pytest.param(
            [Asked("d/a", options={"mac": "02:00:00:00:00:01"}), Asked("d/b")],
            [A, B],
            Difference(kept=(2,), new=(New(0, "net1", instead_of=1),)),
            id="another request is a detach and an attach",
        ),
        pytest.param(
            [Asked("d/a", options={"name": "a", "namespace": "d"})],
            [A],
            Difference(kept=(1,)),
            id="what names the network is no request",
        ),
        pytest.param(
            [Asked("d/a", options={"ips": ["10.0.0.9"]})],
            [A, A2],
            Difference(kept=(3,), gone=(1,)),
            id="of two of one network, the one with the same requests",
        ),
        pytest.param(
            [Asked("d/a"), Asked("d/a"), Asked("d/a")],
            [A, A2],
            Difference(kept=(1,), new=(New(1, "net3", instead_of=3), New(2, "net2"))),
            id="in order",
        ),
        pytest.param([Asked("d/a", "data0")], [DATA], Difference(kept=(4,)), id="by its interface"),
        pytest.param([Asked("d/a", "net1")], [A], Difference(kept=(1,)), id="the name that it has"),
        pytest.param(
            [Asked("d/a", "data1")],
            [DATA],
            Difference(gone=(4,), new=(New(0, "data1"),)),
            id="another interface",
        ),
        pytest.param(
            [Asked("d/a")],
            [DATA],
            Difference(gone=(4,), new=(New(0, "net1"),)),
            id="no interface any more",
        ),
        pytest.param(
            [Asked("d/b", "data0")],
            [DATA],
            Difference(gone=(4,), new=(New(0, "data0"),)),
            id="another network on the interface",
        ),
    ],
)
def test_the_difference(asked: list[Asked], before: list[Had], wanted: Difference) -> None:
    assert difference(asked, before, taken=["eth0"]) == wanted


def test_a_name_that_another_network_has_is_a_clash_and_the_others_go_on() -> None:
    asked = [Asked("d/c", "net1"), Asked("d/a"), Asked("d/d", "eth0"), Asked("d/e"), Asked("d/f")]
    found = difference(asked, [A], taken=["eth0", "net3"])
    assert [tuple(each) for each in found.clashes] == [(0, "net1"), (2, "eth0")]
    assert found.new == (New(3, "net2"), New(4, "net4"))
    twice = difference([Asked("d/a", "x0"), Asked("d/b", "x0")], [])
    assert [tuple(each) for each in twice.clashes] == [(1, "x0")]


def test_an_unnamed_network_leaves_a_requested_name_to_the_other() -> None:
    found = difference([Asked("d/a"), Asked("d/b", "net1")], [])
    assert found.new == (New(0, "net2"), New(1, "net1"))


def test_the_seeds_names_begin_with_net0() -> None:
    assert difference([Asked("d/a")], [], first=0).new == (New(0, "net0"),)


def test_what_another_program_attached_is_known_by_its_configurations_name() -> None:
    theirs = Had(1, "blue", "net1", name="blue", requests_known=False)
    kept = Asked("d/a", options={"ips": ["10.0.0.9"]}, name="blue")
    assert difference([kept], [theirs]) == Difference(kept=(1,))
    assert difference([Asked("blue")], [theirs]).gone == (1,)
