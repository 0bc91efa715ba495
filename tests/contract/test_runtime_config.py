from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from attrs import evolve
from contract.given import Recorder, at_work, example, plugin_named
from unit.values import conf_of, delegate_of, request_of

from multus.api.conf import Conf
from multus.api.errors import InvalidConfig
from multus.api.network import Delegate, Element, Outcome, Role, Selection
from multus.engine.pipeline import Engine
from multus.testing.session import new_session

MAC = "02:00:00:00:00:01"


def giving(**entries: Any) -> Callable[..., Mapping[str, Any]]:
    def multus_runtime_config(delegate: Delegate) -> Mapping[str, Any]:
        return entries

    return multus_runtime_config


def test_the_example_passes_a_request_on() -> None:
    hooks = at_work(example("multus_runtime_config")).hooks
    asked = delegate_of("n", options={"mac": MAC})
    assert hooks.runtime_config(asked, request_of(), conf_of(), new_session()) == {"mac": MAC}
    assert hooks.runtime_config(delegate_of("n"), request_of(), conf_of(), new_session()) == {}


def test_what_several_give_is_joined_and_may_be_the_same() -> None:
    plugins = [
        plugin_named("one", giving(mac=MAC, ips=["10.0.0.2/8"])),
        plugin_named("two", giving(mac=MAC, deviceID="0000:01:00.1")),
    ]
    assert at_work(*plugins).hooks.runtime_config(
        delegate_of("n"), request_of(), conf_of(), new_session()
    ) == {
        "mac": MAC,
        "ips": ["10.0.0.2/8"],
        "deviceID": "0000:01:00.1",
    }


def test_two_values_for_one_capability_are_refused() -> None:
    plugins = [plugin_named("one", giving(mac=MAC)), plugin_named("two", giving(mac="other"))]
    hooks = at_work(*plugins).hooks
    with pytest.raises(InvalidConfig, match=r"'n'.*'mac'.*'two'"):
        hooks.runtime_config(delegate_of("n"), request_of(), conf_of(), new_session())


def selecting(capabilities: Mapping[str, Any]) -> Callable[..., Selection]:
    def multus_select() -> Selection:
        config = {"type": "fake", "name": "net", "capabilities": capabilities}
        element = Element("net", "the test", config=config)
        return Selection(Role.DEFAULT, (element,), "the test")

    return multus_select


def test_a_plugin_gets_what_it_declares(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    given = plugin_named("given", giving(mac=MAC))
    engine(given, plugin_named("source", selecting({"mac": True}))).add(request_of(), conf)
    assert recorder.calls[0].config["runtimeConfig"] == {"mac": MAC}


@pytest.mark.parametrize("capabilities", [{}, {"portMappings": False}, {"ips": True}])
def test_an_undeclared_capability_is_told_to_observers(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf, capabilities: Any
) -> None:
    told: list[str] = []

    def multus_finished(outcome: Outcome) -> None:
        told.extend(str(each) for one in outcome.attachments for each in one.unserved)

    given = plugin_named("given", giving(portMappings=[]), multus_finished)
    engine(given, plugin_named("source", selecting(capabilities))).add(request_of(), conf)
    assert "runtimeConfig" not in recorder.calls[0].config
    (text,) = told
    assert "'portMappings' is requested, and none of its plugins (fake) declares" in text


@pytest.mark.parametrize("capabilities", [{}, {"portMappings": False}, {"ips": True}])
def test_an_undeclared_capability_fails_the_request_where_that_is_configured(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf, capabilities: Any
) -> None:
    given = plugin_named("given", giving(portMappings=[]))
    strict = evolve(conf, unserved_requests="refuse")
    with pytest.raises(InvalidConfig, match=r"'portMappings' is requested"):
        engine(given, plugin_named("source", selecting(capabilities))).add(request_of(), strict)
    assert recorder.said == []


def test_a_mac_is_an_argument_and_its_absence_undoes_where_that_is_configured(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    given = plugin_named("given", giving(mac=MAC))
    strict = evolve(conf, unserved_requests="refuse")
    with pytest.raises(InvalidConfig, match=rf"'mac' is {MAC}, and the interface has"):
        engine(given, plugin_named("source", selecting({}))).add(request_of(), strict)
    assert recorder.calls[0].args["MAC"] == MAC
    assert [each.partition(" ")[0] for each in recorder.said] == ["ADD", "DEL"]
