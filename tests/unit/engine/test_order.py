from __future__ import annotations

from collections.abc import Sequence

import pytest
from contract.given import at_work
from hypothesis import assume, given
from hypothesis import strategies as st
from unit.values import conf_of, delegate_of, request_of

from multus.api.errors import InvalidConfig
from multus.api.names import interface_problem
from multus.api.network import Delegate
from multus.api.ordering import named, primary_first
from multus.engine.order import order
from multus.engine.resolve import Resolved
from multus.testing.session import new_session

HOOKS = at_work().hooks
REQUESTS = st.sampled_from(["", "", "", "north", "net0", "net1", "net2", "eth0", "storage"])


@st.composite
def resolved(draw: st.DrawFn) -> tuple[Delegate, ...]:
    """Any mix of networks, exactly one of them primary."""
    wishes = draw(st.lists(REQUESTS, min_size=1, max_size=8))
    primary = draw(st.sampled_from(range(len(wishes))))
    return tuple(
        delegate_of(f"n{i}", requested_ifname="" if i == primary else wish, primary=i == primary)
        for i, wish in enumerate(wishes)
    )


def ordered(delegates: Sequence[Delegate], naming: str, ifname: str = "eth0") -> list[Delegate]:
    request = request_of(ifname=ifname)
    return list(order(HOOKS, Resolved(tuple(delegates), naming), request, conf_of(), new_session()))


@given(resolved(), st.sampled_from(["seed", "npwg"]))
def test_any_mix_is_ordered_and_named_or_refused(
    delegates: tuple[Delegate, ...], naming: str
) -> None:
    try:
        result = ordered(delegates, naming)
    except InvalidConfig:
        # Only two networks that want one name are refused.
        names = [each.ifname for each in named(primary_first(delegates), naming, "eth0")]
        assert len(set(names)) < len(names)
        return
    first, *others = result
    assert first.primary and first.ifname == "eth0"
    assert [each.name for each in others] == [each.name for each in delegates if not each.primary]
    names = [each.ifname for each in result]
    assert len(set(names)) == len(names)
    assert not any(interface_problem(name) for name in names)
    counted = 0 if naming == "seed" else 1
    for place, each in enumerate(others):
        # One that asks for a name still counts.
        assert each.ifname == each.requested_ifname or each.ifname == f"net{place + counted}"


@given(resolved())
def test_ordering_changes_nothing_but_the_names(delegates: tuple[Delegate, ...]) -> None:
    assume(not any(each.requested_ifname for each in delegates))
    result = ordered(delegates, "npwg")
    assert {each.name for each in result} == {each.name for each in delegates}
    for each in result:
        (was,) = (other for other in delegates if other.name == each.name)
        assert (each.plugins, each.primary, each.options) == (was.plugins, was.primary, was.options)


def test_the_first_documentations_example() -> None:
    sriov, ptp = delegate_of("a", "sriov"), delegate_of("b", "ptp")
    flannel = delegate_of("c", "flannel", primary=True)
    result = ordered([sriov, ptp, flannel], "seed")
    assert [(each.types, each.ifname) for each in result] == [
        ("flannel", "eth0"),
        ("sriov", "net0"),
        ("ptp", "net1"),
    ]


def test_the_primary_gets_the_name_that_the_runtime_chose() -> None:
    one = delegate_of("n", primary=True)
    assert ordered([one], "seed", "ens5")[0].ifname == "ens5"
    asking = delegate_of("n", primary=True, requested_ifname="ens5")
    assert ordered([asking], "seed", "ens5")[0].ifname == "ens5"


@pytest.mark.parametrize(
    ("delegates", "said"),
    [
        ([delegate_of("a", primary=True, requested_ifname="x")], "'a' is the primary"),
        (
            [delegate_of("a", primary=True), delegate_of("b", requested_ifname="eth0")],
            "'a' and network 'b' both get interface 'eth0'",
        ),
        (
            [
                delegate_of("a", primary=True),
                delegate_of("b"),
                delegate_of("c", requested_ifname="net0"),
            ],
            "'b' and network 'c' both get interface 'net0'",
        ),
        (
            [delegate_of("a", primary=True), delegate_of("b", requested_ifname="a/b")],
            "interface name 'a/b'",
        ),
        (
            [delegate_of("a", primary=True), delegate_of("b", requested_ifname="x%d")],
            "interface name 'x%d' holds '%'",
        ),
        (
            [delegate_of("a", primary=True), delegate_of("b", requested_ifname="lo")],
            "interface name 'lo' is the loopback's",
        ),
    ],
)
def test_names_that_cannot_be_given_are_refused_with_the_networks(
    delegates: list[Delegate], said: str
) -> None:
    with pytest.raises(InvalidConfig) as caught:
        ordered(delegates, "seed")
    assert said in caught.value.msg
