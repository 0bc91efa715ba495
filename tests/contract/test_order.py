from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import evolve
from contract.given import Recorder, example, plugin_named, source
from unit.values import delegate_of, request_of

from multus.api.conf import Conf
from multus.api.errors import InvalidConfig
from multus.api.network import Delegate
from multus.engine.pipeline import Engine
from multus.registry.hooks import PluginFailed

Order = Callable[[Sequence[Delegate]], Any]


def ordered_by(order: Order) -> Callable[..., Any]:
    def multus_order(delegates: Sequence[Delegate]) -> Any:
        return order(delegates)

    return multus_order


def named(delegates: Sequence[Delegate]) -> list[Delegate]:
    return [evolve(each, ifname=f"if{i}", primary=i == 0) for i, each in enumerate(delegates)]


def test_the_example_puts_cards_last(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    engine(source("fake", "sriov", "other"), example("multus_order")).add(request_of(), conf)
    assert recorder.said == ["ADD fake eth0", "ADD other net1", "ADD sriov net2"]


def test_a_plugins_order_is_the_one_of_invocation(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    backwards = plugin_named("backwards", ordered_by(lambda each: named(each[::-1])))
    engine(source("a", "b"), backwards).add(request_of(), conf)
    assert recorder.said == ["ADD b if0", "ADD a if1"]


def test_none_leaves_it_to_the_core(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    engine(source("a", "b"), plugin_named("shy", ordered_by(lambda _: None))).add(
        request_of(), conf
    )
    assert recorder.said == ["ADD a eth0", "ADD b net0"]


WRONG: dict[str, Order] = {
    "leaves out": lambda each: named(each[:1]),
    "adds": lambda each: [*named(each), delegate_of("another", ifname="x")],
    "adds network 'a-net'": lambda each: [*named(each), named(each)[0]],
    "exactly one primary": lambda each: [evolve(d, primary=True) for d in named(each)],
    "which the hook does not allow": lambda each: "backwards",
}


@pytest.mark.parametrize("said", WRONG)
def test_another_set_of_networks_is_refused_with_the_plugins_name(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf, said: str
) -> None:
    wrong = plugin_named("wild", ordered_by(WRONG[said]))
    with pytest.raises(PluginFailed) as caught:
        engine(source("a", "b"), wrong).add(request_of(), conf)
    assert said in caught.value.msg and "plugin 'wild'" in caught.value.msg
    assert recorder.said == []


@pytest.mark.parametrize("ifname", ["", "a/b", "x" * 16])
def test_names_that_no_interface_can_have_are_refused(
    engine: Callable[..., Engine], conf: Conf, ifname: str
) -> None:
    order = plugin_named("odd", ordered_by(lambda each: [evolve(named(each)[0], ifname=ifname)]))
    with pytest.raises(InvalidConfig, match="interface name"):
        engine(source("a"), order).add(request_of(), conf)
