from __future__ import annotations

from collections.abc import Callable

import pytest
from contract.given import Recorder, at_work, example, plugin_named, source
from unit.values import conf_of, request_of

from multus.api.conf import Conf
from multus.api.errors import NotAvailable, TryAgainLater
from multus.api.network import Element, Role, Selection
from multus.engine.pipeline import Engine
from multus.registry.hooks import PluginFailed
from multus.testing.session import new_session


def test_the_example_selects_what_its_key_lists() -> None:
    hooks = at_work(example("multus_select")).hooks
    assert hooks.select(request_of(), conf_of(), new_session()) == []
    (selection,) = hooks.select(request_of(), conf_of(extraNetworks=["a", "b"]), new_session())
    assert selection.role is Role.DEFAULT
    assert [element.name for element in selection.elements] == ["a", "b"]


def test_an_element_without_a_source_gets_the_name_of_its_plugin() -> None:
    def multus_select() -> Selection:
        elements = (Element("a", "the test"), Element("b", "the test", source="theirs"))
        return Selection(Role.ADDED, elements, "the test")

    hooks = at_work(plugin_named("source-quiet", multus_select)).hooks
    (selection,) = hooks.select(request_of(), conf_of(), new_session())
    assert [element.source for element in selection.elements] == ["source-quiet", "theirs"]


def test_sources_are_asked_in_the_order_of_their_names(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    engine(source("b", name="source-b"), source("a", name="source-a")).add(request_of(), conf)
    assert recorder.said == ["ADD a eth0", "ADD b net0"]


def test_a_source_may_select_in_several_roles() -> None:
    def multus_select() -> list[Selection]:
        element = Element("n", "the test")
        return [Selection(role, (element,), "the test") for role in (Role.DEFAULT, Role.ADDED)]

    hooks = at_work(plugin_named("both", multus_select)).hooks
    assert [each.role for each in hooks.select(request_of(), conf_of(), new_session())] == [
        Role.DEFAULT,
        Role.ADDED,
    ]


def test_a_source_that_cannot_answer_fails_the_request(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    def multus_select() -> Selection:
        raise TryAgainLater("the inventory is away")

    away = engine(plugin_named("away", multus_select), source("fake"))
    with pytest.raises(TryAgainLater, match="away"):
        away.add(request_of(), conf)
    assert recorder.said == []
    with pytest.raises(NotAvailable, match="away"):
        away.status(request_of("STATUS", container_id="", ifname="", netns=""), conf)


def test_a_del_without_a_record_succeeds_though_a_source_is_away(
    engine: Callable[..., Engine], conf: Conf
) -> None:
    def multus_select() -> Selection:
        raise TryAgainLater("the inventory is away")

    engine(plugin_named("away", multus_select)).delete(request_of("DEL"), conf)


def test_another_answer_is_refused_with_the_plugins_name() -> None:
    def multus_select() -> str:
        return "everything"

    hooks = at_work(plugin_named("loud", multus_select)).hooks
    with pytest.raises(PluginFailed, match=r"plugin 'loud'.*'everything'"):
        hooks.select(request_of(), conf_of(), new_session())
