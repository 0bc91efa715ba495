from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve
from contract.given import at_work, example, plugin_named, source
from unit.values import conf_of, request_of

from multus.api.conf import Conf
from multus.api.errors import InvalidConfig
from multus.api.keys import INTEGER, OBJECTS, PATH, TEXT, Key
from multus.engine.parse import validate
from multus.engine.pipeline import Engine
from multus.registry.hooks import PluginFailed
from multus.state.journal import Journal
from multus.state.record import Record


def test_the_example_names_its_key() -> None:
    installed = at_work(example("multus_keys"))
    (key,) = installed.hooks.configuration_keys()
    assert (key.name, key.kind, key.default) == ("inventory", PATH, "/etc/inventory")


def test_the_keys_of_all_plugins_are_gathered_in_the_order_of_their_names() -> None:
    def one() -> list[Key]:
        return [Key("a", TEXT, "A."), Key("b", TEXT, "B.")]

    def two() -> tuple[Key, ...]:
        return (Key("c", TEXT, "C."),)

    def none() -> None:
        return None

    for function in (one, two, none):
        function.__name__ = "multus_keys"
    plugins = [
        plugin_named(name, function) for name, function in zip("zab", (one, two, none), strict=True)
    ]
    assert [key.name for key in at_work(*plugins).hooks.configuration_keys()] == ["c", "a", "b"]


def test_an_answer_that_is_not_a_key_is_refused_with_the_plugins_name() -> None:
    def multus_keys() -> list[str]:
        return ["inventory"]

    hooks = at_work(plugin_named("lazy", multus_keys)).hooks
    with pytest.raises(PluginFailed, match=r"plugin 'lazy', hook 'multus_keys'"):
        hooks.configuration_keys()


def test_the_engine_refuses_a_value_that_the_plugins_table_does_not_allow() -> None:
    def multus_keys() -> list[Key]:
        return [Key("retries", INTEGER, "How often.", 3, least=0, most=9)]

    installed = at_work(plugin_named("asks", multus_keys))
    validate(conf_of(retries=9), installed)
    wrong: tuple[object, ...] = (10, "9", [])
    for value in wrong:
        with pytest.raises(InvalidConfig) as caught:
            validate(conf_of(retries=value), installed)
        assert caught.value.path == ("retries",)
        assert caught.value.fix


def test_the_journal_does_not_keep_a_key_that_a_plugin_says_is_not_kept(
    engine: Callable[..., Engine], conf: Conf
) -> None:
    def multus_keys() -> list[Key]:
        return [Key("listed", OBJECTS, "A list.", kept=False), Key("other", TEXT, "A word.")]

    given = evolve(conf, raw={**conf.raw, "listed": [{}], "other": "x", "prevResult": None})
    engine(plugin_named("lists", multus_keys), source("fake")).add(request_of(), given)
    (record,) = Journal(conf.cni_dir).records()
    assert isinstance(record, Record)
    assert record.conf == {**conf.raw, "other": "x"}
