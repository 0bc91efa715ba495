from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from contract.given import Recorder, at_work, example, plugin_named
from unit.values import conf_of, request_of

from multus.api.conf import Conf
from multus.api.delegates import delegate_from
from multus.api.errors import InvalidConfig
from multus.api.network import Delegate, Element, Role, Selection
from multus.engine.pipeline import Engine
from multus.registry.entry import Entry
from multus.registry.hooks import PluginFailed
from multus.testing.session import new_session

R, OTHER = "example.com/card", "example.com/other"


def giving(name: str, devices: Mapping[str, Any] | None, **marks: Any) -> Entry:
    def multus_devices() -> Any:
        return devices

    return plugin_named(name, multus_devices, **marks)


def needing(*resources: str, device: str = "", **config: Any) -> Entry:
    """A source of one network for each resource; "" needs no device.

    *device* is the one that the source gives.
    """

    def multus_select() -> Selection:
        elements = [Element(f"n{n}", f"entry {n}") for n in range(len(resources))]
        return Selection(Role.DEFAULT, tuple(elements), "the test")

    def multus_resolve(element: Element, conf: Conf) -> Delegate:
        from attrs import evolve

        found = delegate_from({"type": "fake", **config}, conf, "the test", name=element.name)
        return evolve(found, resource=resources[int(element.name[1:])], device=device)

    return plugin_named("needing", multus_select, multus_resolve)


def devices(recorder: Recorder) -> list[str]:
    return [str(each.config.get("deviceID", "-")) for each in recorder.calls]


def test_the_example_names_the_cards_of_its_key() -> None:
    hooks = at_work(example("multus_devices")).hooks
    assert hooks.devices(request_of(), conf_of(), new_session()) == {}
    found = hooks.devices(request_of(), conf_of(cards=["c1", "c0"]), new_session())
    assert found == {R: ["c0", "c1"]}


def test_lists_are_joined_in_the_plugins_order_and_a_device_counts_once() -> None:
    plugins = [
        giving("a", {R: ["c2", "c1"]}, trylast=True),
        giving("b", {R: ("c1", "c0"), OTHER: ["o"]}),
        giving("c", None),
    ]
    found = at_work(*plugins).hooks.devices(request_of(), conf_of(), new_session())
    assert found == {R: ["c1", "c0", "c2"], OTHER: ["o"]}


@pytest.mark.parametrize("answer", [{R: "c0"}, {R: [5]}, {5: ["c0"]}, {R: None}])
def test_another_form_names_the_plugin(answer: Any) -> None:
    hooks = at_work(giving("odd", answer)).hooks
    with pytest.raises(PluginFailed, match="plugin 'odd', hook 'multus_devices', answered with"):
        hooks.devices(request_of(), conf_of(), new_session())


def test_networks_take_the_devices_of_their_resource_in_order(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    given = giving("given", {R: ["c0", "c1"], OTHER: ["o0"]})
    engine(needing(R, "", OTHER, R), given).add(request_of(), conf)
    assert devices(recorder) == ["c0", "-", "o0", "c1"]
    assert [each.delegate.device for each in recorder.calls] == ["c0", "", "o0", "c1"]


@pytest.mark.parametrize("known", [{}, {R: []}, {OTHER: ["o0"]}])
def test_a_resource_that_nobody_lists_gives_no_device(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf, known: Mapping[str, Any]
) -> None:
    engine(needing(R, R), giving("given", known)).add(request_of(), conf)
    assert devices(recorder) == ["-", "-"]


def test_more_networks_than_devices_are_refused(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    with pytest.raises(InvalidConfig, match=r"entry 1.*'n1' needs a device of example.com/card"):
        engine(needing(R, R), giving("given", {R: ["c0"]})).add(request_of(), conf)
    assert recorder.said == []


def test_sources_are_asked_once_and_only_when_a_network_needs_a_device(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    asked: list[int] = []

    def multus_devices() -> None:
        asked.append(1)

    counting = plugin_named("counting", multus_devices)
    engine(needing(""), counting).add(request_of(), conf)
    assert asked == []
    other = request_of(container_id="other")
    made = engine(needing(R, R), counting)
    made.add(other, conf)
    assert asked == [1]
    made.status(request_of("STATUS"), conf)
    made.delete(request_of("DEL", container_id="other"), conf)
    assert asked == [1]


def test_a_plugin_that_declares_the_capability_gets_it_by_runtime_config(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    made = engine(needing(R, capabilities={"deviceID": True}), giving("given", {R: ["c0"]}))
    made.add(request_of(), conf)
    assert recorder.calls[0].config["runtimeConfig"] == {"deviceID": "c0"}


def test_the_device_of_a_source_is_kept_where_none_is_left(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    given = giving("given", {R: ["c0"]})
    engine(needing(R, R, device="own"), given).add(request_of(), conf)
    assert devices(recorder) == ["c0", "-"]
    assert [each.delegate.device for each in recorder.calls] == ["c0", "own"]
