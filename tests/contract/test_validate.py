from __future__ import annotations

from collections.abc import Callable

import pytest
from contract.given import at_work, example, plugin_named, source
from unit.values import conf_of, request_of

from multus.api.conf import Conf
from multus.api.errors import InvalidConfig
from multus.api.problem import Problem
from multus.engine.pipeline import Engine
from multus.registry.hooks import PluginFailed


def test_the_example_finds_what_is_wrong() -> None:
    hooks = at_work(example("multus_validate")).hooks
    assert hooks.validate(conf_of()) == hooks.validate(conf_of(inventory="/x")) == []
    (problem,) = hooks.validate(conf_of(inventory="/dev/null"))
    assert problem.path == ("inventory",)


def problems(name: str, *paths: str) -> Callable[[], list[Problem]]:
    def multus_validate() -> list[Problem]:
        return [Problem(path, "is odd", f"ask {name}") for path in paths]

    return multus_validate


def test_the_first_problem_fails_an_add_and_the_others_are_its_details(
    engine: Callable[..., Engine], conf: Conf
) -> None:
    one = plugin_named("b", problems("b", "x"))
    two = plugin_named("a", problems("a", "y", "z"))
    with pytest.raises(InvalidConfig) as caught:
        engine(one, two, source("fake")).add(request_of(), conf)
    assert "'y' is odd: ask a" in caught.value.msg
    assert caught.value.details == "'z' is odd: ask a; 'x' is odd: ask b"


def test_what_two_plugins_say_alike_is_said_once() -> None:
    plugins = [plugin_named(name, problems("both", "x")) for name in ("one", "two")]
    assert len(at_work(*plugins).hooks.validate(conf_of())) == 1


def test_a_del_is_not_kept_from_its_work(engine: Callable[..., Engine], conf: Conf) -> None:
    broken = engine(plugin_named("a", problems("a", "x")), source("fake"))
    broken.delete(request_of("DEL"), conf)


def test_an_exception_is_laid_at_the_plugins_door() -> None:
    def multus_validate(conf: Conf) -> list[Problem]:
        raise KeyError("inventory")

    hooks = at_work(plugin_named("hasty", multus_validate)).hooks
    with pytest.raises(PluginFailed, match=r"plugin 'hasty'.*KeyError"):
        hooks.validate(conf_of())
