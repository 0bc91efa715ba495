from __future__ import annotations

from collections.abc import Callable

import pytest
from contract.given import Recorder, at_work, example, plugin_named, source
from unit.values import conf_of, delegate_of, request_of

from multus.api.conf import Conf
from multus.api.errors import InvalidConfig
from multus.api.network import Delegate, Element, Role, Selection
from multus.engine.pipeline import Engine
from multus.registry.hooks import PluginFailed
from multus.testing.session import new_session

WANTED = Element("storage", "the test", "source-test")


def test_the_example_knows_what_its_inventory_has() -> None:
    hooks = at_work(example("multus_resolve")).hooks
    delegate = hooks.resolve(WANTED, request_of(), conf_of(), new_session())
    assert delegate and delegate.types == "macvlan"
    assert hooks.resolve(Element("x", "the test"), request_of(), conf_of(), new_session()) is None


def test_the_first_that_knows_it_answers() -> None:
    asked = []

    def resolver(name: str, answer: Delegate | None) -> Callable[..., Delegate | None]:
        def multus_resolve(element: Element) -> Delegate | None:
            asked.append(name)
            return answer

        return multus_resolve

    plugins = [
        plugin_named("c-last", resolver("c-last", delegate_of("never"))),
        plugin_named("b", resolver("b", delegate_of("known"))),
        plugin_named("a", resolver("a", None), trylast=True),
        plugin_named("z", resolver("z", None), tryfirst=True),
    ]
    delegate = at_work(*plugins).hooks.resolve(WANTED, request_of(), conf_of(), new_session())
    assert delegate == delegate_of("known")
    assert asked == ["z", "b"]


def test_an_unknown_element_fails_the_request_and_is_named(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    def multus_select() -> Selection:
        element = Element("backup", "annotation of pod shop/web", namespace="shop")
        return Selection(Role.ADDED, (element,), "the test")

    selecting = engine(plugin_named("asks", multus_select), source("fake"))
    with pytest.raises(InvalidConfig, match=r"annotation of pod shop/web: .*'shop/backup'"):
        selecting.add(request_of(), conf)
    assert recorder.said == []


def test_an_element_with_its_configuration_is_not_resolved(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    engine(source("fake")).add(request_of(), conf)
    assert recorder.said == ["ADD fake eth0"]


def test_another_answer_is_refused_with_the_plugins_name() -> None:
    def multus_resolve() -> dict[str, str]:
        return {"type": "fake"}

    hooks = at_work(plugin_named("plain", multus_resolve)).hooks
    with pytest.raises(PluginFailed, match="plugin 'plain', hook 'multus_resolve'"):
        hooks.resolve(WANTED, request_of(), conf_of(), new_session())
