"""The façade of the hooks: the order of the plugins, wrong answers, and the time of each hook."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from contract.given import at_work, plugin_named
from unit.values import conf_of, request_of

from multus.api import progress
from multus.api.errors import CNIError
from multus.api.invoker import Declined, Invoker
from multus.api.network import (
    Attachment,
    Delegate,
    Element,
    Invocation,
    Outcome,
    Plugin,
    Role,
    Selection,
)
from multus.api.progress import Task
from multus.api.result import IP, Interface, Result, Route
from multus.registry.hooks import OBSERVING, Hooks, PluginFailed
from multus.testing.session import new_session

ELEMENT = Element("x", "a test")
PLUGIN = Plugin({"type": "x"})
DELEGATE = Delegate("x", (PLUGIN,), "1.1.0", ifname="eth0")
CONF, REQUEST, SESSION = conf_of(), request_of(), new_session()
INVOCATION = Invocation(
    "ADD", DELEGATE, PLUGIN, PLUGIN.config, REQUEST, CONF, SESSION, log=SESSION.log
)

#: How the core calls each hook, and an allowed answer.
ASKING: dict[str, Callable[[Hooks], object]] = {
    "multus_keys": lambda hooks: hooks.configuration_keys(),
    "multus_kubernetes": lambda hooks: hooks.kubernetes(),
    "multus_validate": lambda hooks: hooks.validate(CONF),
    "multus_select": lambda hooks: hooks.select(REQUEST, CONF, SESSION),
    "multus_resolve": lambda hooks: hooks.resolve(ELEMENT, REQUEST, CONF, SESSION),
    "multus_devices": lambda hooks: hooks.devices(REQUEST, CONF, SESSION),
    "multus_chain": lambda hooks: hooks.chain(DELEGATE, REQUEST, CONF, SESSION),
    "multus_runtime_config": lambda hooks: hooks.runtime_config(DELEGATE, REQUEST, CONF, SESSION),
    "multus_order": lambda hooks: hooks.order((DELEGATE,), REQUEST, CONF, SESSION),
    "multus_invoker": lambda hooks: list(hooks.invokers(PLUGIN, DELEGATE, CONF)),
    "multus_merge": lambda hooks: hooks.merge((Attachment(DELEGATE),), REQUEST, CONF, SESSION),
    "multus_ipam": lambda hooks: list(hooks.ipams("x", INVOCATION)),
    "multus_allocations": lambda hooks: hooks.allocations(CONF, SESSION),
    "multus_health": lambda hooks: told(hooks.health(CONF)),
    "multus_upkeep": lambda hooks: told(hooks.upkeep(CONF, SESSION, 60.0)),
}

#: Answers that no hook may return.
WRONG: list[Any] = [5, "x", object(), b"x", iter(()), [5], ["x"], [None], [{}], True]

NAMELESS = Invoker()
ODD_SOURCE = Element("x", "a test", source=5)  # type: ignore[arg-type]
SELECTION = Selection(Role.DEFAULT, (ELEMENT,), "a test")


def told(errors: Iterable[CNIError]) -> object:
    """The first error, raised: what a plugin answers, or what it failed with."""
    for each in errors:
        raise each
    return None


def answering(hook: str, answer: object, name: str = "odd") -> Hooks:
    def function() -> object:
        return answer

    function.__name__ = hook
    return at_work(plugin_named(name, function)).hooks


def test_every_hook_that_answers_is_asked_here() -> None:
    from multus.api import hookspecs

    every = {name for name in vars(hookspecs) if name.startswith("multus_")}
    assert every - OBSERVING == set(ASKING)


@pytest.mark.parametrize("answer", WRONG, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("hook", ASKING)
def test_a_wrong_answer_names_plugin_and_hook(hook: str, answer: object) -> None:
    with pytest.raises(PluginFailed, match=f"plugin 'odd', hook '{hook}', answered with "):
        ASKING[hook](answering(hook, answer))


@pytest.mark.parametrize(
    ("hook", "answer", "said"),
    [
        ("multus_resolve", {"type": "x"}, "{'type': 'x'}"),
        ("multus_merge", {"ips": []}, "{'ips': []}"),
        ("multus_runtime_config", [("mac", "x")], "[('mac', 'x')]"),
        ("multus_select", Selection("default", (), "x"), "whose 'role' is 'default'"),  # type: ignore[arg-type]
        ("multus_select", Selection(Role.ADDED, ("x",), "x"), "a str among its 'elements'"),  # type: ignore[arg-type]
        ("multus_select", Selection(Role.ADDED, "x", "x"), "whose 'elements' is 'x'"),  # type: ignore[arg-type]
        ("multus_select", Selection(Role.ADDED, (ODD_SOURCE,), "x"), "whose 'source' is 5"),
        ("multus_select", Selection(Role.ADDED, (), 5), "whose 'origin' is 5"),  # type: ignore[arg-type]
        ("multus_resolve", Delegate("x", ({"type": "x"},), "1.1.0"), "a dict among its 'plugins'"),  # type: ignore[arg-type]
        ("multus_resolve", Delegate("x", (), "1.1.0"), "whose 'plugins' is ()"),
        ("multus_resolve", Delegate("x", (Plugin({}),), "1.1.0"), "has no 'type'"),
        ("multus_chain", [Plugin({"name": "x"})], "has no 'type'"),
        ("multus_invoker", NAMELESS, "a Invoker that has no 'name'"),
        ("multus_invoker", Invoker, "<class 'multus.api.invoker.Invoker'>"),
        ("multus_merge", Result(interfaces=("eth0",)), "a str among its 'interfaces'"),  # type: ignore[arg-type]
        ("multus_merge", Result(ips=({"address": "x"},)), "a dict among its 'ips'"),  # type: ignore[arg-type]
        ("multus_merge", Result(dns={}), "whose 'dns' is {}"),  # type: ignore[arg-type]
        ("multus_merge", Result(ips=(IP(None),)), "a IP whose 'address' is None"),  # type: ignore[arg-type]
        (
            "multus_merge",
            Result(ips=(IP("10.0.0.1"),)),
            "'10.0.0.1' is not an address in CIDR",
        ),
        ("multus_merge", Result(routes=(Route("default"),)), "'default' is not an address in CIDR"),
        ("multus_merge", Result(ips=(IP("::1/64", "x"),)), "the gateway 'x' is not an IP address"),
        ("multus_order", (DELEGATE, 5), "5"),
    ],
)
def test_a_wrong_answer_is_reported_with_the_reason(hook: str, answer: object, said: str) -> None:
    with pytest.raises(PluginFailed) as caught:
        ASKING[hook](answering(hook, answer))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("hook", "answer"),
    [
        ("multus_select", SELECTION),
        ("multus_select", [SELECTION, SELECTION]),
        ("multus_select", Selection(Role.ADDED, [ELEMENT], "x")),  # type: ignore[arg-type]
        ("multus_resolve", DELEGATE),
        ("multus_chain", (PLUGIN,)),
        ("multus_devices", {"r": ["d"]}),
        ("multus_devices", {}),
        ("multus_runtime_config", {"mac": "x"}),
        ("multus_invoker", Declined("x", "no")),
        ("multus_merge", Result((Interface("x"),), (IP("10.0.0.1/24"),))),
        ("multus_order", [DELEGATE]),
        *((hook, None) for hook in ASKING),
    ],
)
def test_a_right_answer_is_taken(hook: str, answer: object) -> None:
    ASKING[hook](answering(hook, answer))


class TestTimes:
    """The time of each plugin's hook in a request."""

    def slow(self, name: str, seconds: float) -> Any:
        def multus_select() -> None:
            time.sleep(seconds)

        return plugin_named(name, multus_select)

    def test_each_hook_of_each_plugin_has_its_own(self) -> None:
        hooks = at_work(self.slow("quick", 0.0), self.slow("slow", 0.05)).hooks
        with progress.timed() as times:
            hooks.select(REQUEST, CONF, SESSION)
            hooks.select(REQUEST, CONF, SESSION)
        seconds = {each.task: each.seconds for each in times.spent}
        assert set(seconds) == {Task("quick", "multus_select"), Task("slow", "multus_select")}
        assert seconds[Task("slow", "multus_select")] >= 0.1
        assert seconds[Task("quick", "multus_select")] < 0.05

    def test_waiting_time_is_counted_separately(self) -> None:
        def multus_select() -> None:
            with progress.step("the switch", 5.0, waits=True):
                time.sleep(0.05)

        hooks = at_work(plugin_named("patient", multus_select)).hooks
        with progress.timed() as times:
            hooks.select(REQUEST, CONF, SESSION)
        (spent,) = times.spent
        assert spent.waited >= 0.05
        assert spent.seconds - spent.waited < 0.05

    def test_one_that_fails_is_timed_too(self) -> None:
        def multus_finished() -> None:
            raise SystemExit(0)

        hooks = at_work(plugin_named("odd", multus_finished)).hooks
        with progress.timed() as times:
            hooks.observers(SESSION).finished(Outcome("ADD"), REQUEST, CONF)
        assert [each.task for each in times.spent] == [Task("odd", "multus_finished")]

    def test_within_another_they_are_one(self) -> None:
        hooks = at_work(self.slow("quick", 0.0)).hooks
        with progress.timed() as outer:
            with progress.timed() as inner:
                hooks.select(REQUEST, CONF, SESSION)
            assert inner.spent == outer.spent != ()
        with progress.timed() as later:
            assert later.spent == ()


def test_a_traceback_shows_where_a_plugin_failed() -> None:
    def multus_select() -> None:
        raise GeneratorExit

    hooks = at_work(plugin_named("odd", multus_select)).hooks
    with pytest.raises(CNIError) as caught:
        hooks.select(REQUEST, CONF, SESSION)
    assert isinstance(caught.value.__cause__, GeneratorExit)
