from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from contract.given import Recorder, at_work, example, plugin_named, source
from unit.values import conf_of, delegate_of, request_of

from multus.api.conf import Conf
from multus.api.errors import CNIError, InvalidConfig, MissingPlugin
from multus.api.invoker import Declined, Invoker
from multus.api.network import Delegate, Invocation, Plugin
from multus.api.result import Interface, Result
from multus.engine.invoke.choice import choose
from multus.engine.pipeline import Engine
from multus.registry.entry import Entry
from multus.registry.hooks import PluginFailed

SPECIAL = Plugin({"type": "special"})


def offering(name: str, answer: object, **marks: Any) -> Entry:
    def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> object:
        return answer

    return plugin_named(name, multus_invoker, **marks)


class Special(Invoker):
    name = "special"


class Other(Invoker):
    name = "other"


def chosen(*entries: Entry, plugin: Plugin = SPECIAL, **keys: Any) -> str:
    return choose(at_work(*entries), plugin, delegate_of("net"), conf_of(), **keys).invoker.name


def test_the_example_takes_its_type_and_declines_keys_that_it_does_not_know() -> None:
    hooks = at_work(example("multus_invoker")).hooks

    def asked(config: Mapping[str, Any]) -> list[Invoker | Declined]:
        return list(hooks.invokers(Plugin(config), delegate_of("net"), conf_of()))

    assert asked({"type": "bridge"}) == []
    assert asked({"type": "tap", "owner": 5, "colour": 1}) == [Declined("tap", "key 'colour'")]
    (invoker,) = asked({"type": "tap", "owner": 5})
    assert isinstance(invoker, Invoker) and invoker.name == "tap"


def test_the_first_offer_is_taken_and_the_last_is_of_who_takes_everything() -> None:
    everything = offering("a", Other(), trylast=True)
    assert chosen(everything, offering("b", Special())) == "special"
    assert chosen(everything, offering("b", None)) == "other"
    assert chosen(everything, offering("b", Declined("special", "no"))) == "other"


def test_a_requested_invoker_is_used_or_its_refusal_reported() -> None:
    plugins = offering("a", Special()), offering("b", Other())
    assert chosen(*plugins, plugin=Plugin(SPECIAL.config, "other")) == "other"
    with pytest.raises(MissingPlugin, match="install multus-invoker-gone"):
        chosen(*plugins, plugin=Plugin(SPECIAL.config, "gone"))
    declining = offering("c", Declined("picky", "key 'x' is not one that it knows"))
    with pytest.raises(InvalidConfig, match="'picky' cannot serve it: key 'x'"):
        chosen(*plugins, declining, plugin=Plugin(SPECIAL.config, "picky"))


def test_on_the_way_out_another_invoker_does_it() -> None:
    gone = Plugin(SPECIAL.config, "gone")
    assert chosen(offering("a", Other()), plugin=gone, strict=False) == "other"


def test_without_any_the_error_says_what_to_install() -> None:
    with pytest.raises(MissingPlugin, match=r"'special'.*install multus-invoker-exec"):
        chosen()


def test_another_answer_is_refused_with_the_plugins_name() -> None:
    with pytest.raises(PluginFailed, match="plugin 'lazy', hook 'multus_invoker'"):
        chosen(offering("lazy", Special))


class TestVerbs:
    """How the core calls an invoker, and handles its errors."""

    class Half(Invoker):
        name = "half"

        def add(self, invocation: Invocation) -> Result:
            return Result(interfaces=(Interface(invocation.ifname),))

    def test_one_that_cannot_delete_says_so_and_keeps_the_record(
        self, engine: Callable[..., Engine], conf: Conf
    ) -> None:
        half = engine(source("fake"), offering("a", self.Half()))
        half.add(request_of(), conf)
        with pytest.raises(CNIError, match="invoker 'half' has no DEL"):
            half.delete(request_of("DEL"), conf)

    def test_neighbours_are_deleted_together(
        self, engine: Callable[..., Engine], conf: Conf
    ) -> None:
        groups: list[list[str]] = []

        class Many(Recorder):
            name = "many"

            def delete(self, invocations: Any) -> list[CNIError | None]:
                groups.append([each.ifname for each in invocations])
                return [None] * len(invocations)

        many = Many()

        def multus_invoker(plugin: Plugin) -> Invoker | None:
            return many if plugin.type == "many" else None

        both = engine(source("many", "many", "fake", "many"), plugin_named("m", multus_invoker))
        both.add(request_of(), conf)
        both.delete(request_of("DEL"), conf)
        assert groups == [["net2"], ["net0", "eth0"]]

    def test_an_exception_fails_the_delegate_and_is_undone(
        self, engine: Callable[..., Engine], recorder: Recorder, conf: Conf
    ) -> None:
        class Hasty(Recorder):
            name = "hasty"

            def add(self, invocation: Invocation) -> Result:
                raise KeyError("mtu")

        hasty = Hasty()

        def multus_invoker(plugin: Plugin) -> Invoker | None:
            return hasty if plugin.type == "hasty" else None

        both = engine(source("fake", "hasty"), plugin_named("h", multus_invoker))
        with pytest.raises(CNIError, match=r"hasty.*invoker 'hasty' of .* failed with KeyError"):
            both.add(request_of(), conf)
        assert hasty.said == ["DEL hasty net0"]
        assert recorder.said == ["ADD fake eth0", "DEL fake eth0"]
