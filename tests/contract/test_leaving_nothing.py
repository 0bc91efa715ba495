"""A step with ``leaves_nothing``: declared by its invoker, recorded, and skipped by DEL and GC."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from contract.given import Recorder, at_work, merger, plugin_named, source
from unit.values import conf_of, request_of

from multus.api.conf import Conf
from multus.api.errors import CNIError, InvalidConfig, NotStarted
from multus.api.invoker import Invoker
from multus.api.network import Invocation, Plugin
from multus.api.result import Result
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.registry.entry import Entry
from multus.state.journal import Journal


class Step(Recorder):
    """Changes only things that disappear with the interface."""

    name = "step"
    leaves_nothing = True

    def delete_one(self, invocation: Invocation) -> None:
        raise AssertionError("DEL must skip this step")


class Everything(Recorder):
    """Like the exec invoker: offers itself for every type, but has no binary for the step's."""

    name = "everything"

    def _record(self, invocation: Invocation) -> None:
        super()._record(invocation)
        if invocation.plugin.type == "step":
            raise NotStarted("plugin 'step' is not found")


def with_step(*others: Recorder, step: Invoker) -> Engine:
    """An engine with the plugin of the step, which each network gets."""

    def multus_chain() -> Plugin:
        return Plugin({"type": "step"})

    def multus_invoker(plugin: Plugin) -> Invoker | None:
        return step if plugin.type == "step" else None

    theirs = plugin_named("their-step", multus_chain, multus_invoker)
    return engine_of(*others, plugins=(theirs,))


def engine_of(*others: Recorder, plugins: tuple[Entry, ...] = ()) -> Engine:
    carriers = [each.plugin() for each in others]
    installed = at_work(source("a", "b"), *plugins, *carriers, merger())
    return Engine(installed, Log.from_conf({"logLevel": "error"}))


@pytest.fixture
def everything() -> Everything:
    return Everything()


def test_del_needs_its_plugin_no_more(everything: Everything, conf: Conf) -> None:
    with_step(everything, step=Step()).add(request_of(), conf)
    engine_of(everything).delete(request_of("DEL"), conf)
    assert everything.said[2:] == ["DEL b net0", "DEL a eth0"]
    assert Journal(conf.cni_dir).find("c1", "eth0") is None


def test_gc_asks_no_plugin_about_it(everything: Everything, conf: Conf) -> None:
    with_step(everything, step=Step()).add(request_of(), conf)
    valid = [{"containerID": "c1", "ifname": "eth0"}]
    collecting = conf_of(**{**conf.raw, "cni.dev/valid-attachments": valid})
    engine_of(everything).collect_garbage(request_of("GC", container_id="", ifname=""), collecting)
    assert everything.said[2:] == ["GC a", "GC b"]


def test_an_add_that_fails_in_it_undoes_the_others(everything: Everything, conf: Conf) -> None:
    class Failing(Step):
        def add(self, invocation: Invocation) -> Result:
            raise InvalidConfig("no gateway")

    with pytest.raises(InvalidConfig, match="no gateway"):
        with_step(everything, step=Failing()).add(request_of(), conf)
    assert everything.said == ["ADD a eth0", "DEL a eth0"]
    assert Journal(conf.cni_dir).find("c1", "eth0") is None


def test_without_the_mark_an_uninstalled_plugins_step_stays_an_error(
    everything: Everything, conf: Conf
) -> None:
    class Unmarked(Recorder):
        name = "step"

    with_step(everything, step=Unmarked()).add(request_of(), conf)
    with pytest.raises(CNIError, match="plugin 'step' is not found") as caught:
        engine_of(everything).delete(request_of("DEL"), conf)
    assert caught.value.number == 106


def test_it_is_recorded_with_the_step(everything: Everything, conf: Conf) -> None:
    with_step(everything, step=Step()).add(request_of(), conf)
    record = Journal(conf.cni_dir).find("c1", "eth0")
    assert record is not None
    assert [step.leaves_nothing for step in record.planned[0].steps] == [False, True]


def test_a_record_without_the_mark_needs_the_plugin_and_its_del_does_nothing(
    everything: Everything, conf: Conf
) -> None:
    class Bare(Recorder):
        name = "step"
        leaves_nothing = True
        delete_one = Invoker.delete_one

    class Unmarked(Bare):
        leaves_nothing = False

    with_step(everything, step=Unmarked()).add(request_of(), conf)
    with_step(everything, step=Bare()).delete(request_of("DEL"), conf)
    assert everything.said[2:] == ["DEL b net0", "DEL a eth0"]


def test_the_base_class_has_a_del_for_it() -> None:
    class Bare(Invoker):
        name = "bare"
        leaves_nothing = True

    calls: list[Callable[..., object]] = [Bare().delete_one, Bare().check]
    assert [call(None) for call in calls] == [None, None]
