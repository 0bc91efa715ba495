"""The contract itself: every hook is documented in one form, its example runs, and it has tests."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contract.given import at_work, documentation, example

from multus.api import hookspecs

HOOKS = [name for name in vars(hookspecs) if name.startswith("multus_")]
KINDS = ("collect", "first result", "observer")
PARTS = ("Kind", "Called", "Returns", "Raises")


def spec(hook: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(hookspecs, hook)
    return function


def part(hook: str, name: str) -> str:
    """The text of a section of the documentation, as one line."""
    found = re.search(rf"^{name}: (.+?)(?=^[A-Z][a-z]+:|\Z)", documentation(hook), re.M | re.S)
    return " ".join(found[1].split()) if found else ""


def test_there_are_hooks() -> None:
    assert len(HOOKS) >= 12


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented(hook: str) -> None:
    summary = documentation(hook).splitlines()[0]
    assert summary.endswith(".") and len(summary) <= 90
    for name in PARTS:
        assert len(part(hook, name)) > 5, f"{hook} does not say '{name}:'"


@pytest.mark.parametrize("hook", HOOKS)
def test_the_kind_is_the_one_that_is_carried_out(hook: str) -> None:
    kind = part(hook, "Kind").rstrip(".")
    assert kind in KINDS
    options = getattr(spec(hook), "multus_spec")  # noqa: B009  pluggy's own attribute
    assert options["firstresult"] == (kind == "first result")
    returns = inspect.signature(spec(hook)).return_annotation
    assert (returns == "None") == (kind == "observer")


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_few_arguments_each_with_its_type(hook: str) -> None:
    """At most two arguments, besides the request, its reason, configuration and session."""
    parameters = inspect.signature(spec(hook)).parameters.values()
    assert len({each.name for each in parameters} - {"request", "reason", "conf", "session"}) <= 2
    for each in parameters:
        assert each.annotation is not inspect.Parameter.empty
        assert each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert each.default is inspect.Parameter.empty


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_contract_tests(hook: str) -> None:
    path = Path(__file__).with_name(f"test_{hook.removeprefix('multus_')}.py")
    assert path.exists(), f"{hook} has no {path.name}"
    text = path.read_text()
    assert f'example("{hook}")' in text, "its example is not run"
    assert text.count("\ndef test_") >= 3


@pytest.mark.parametrize("hook", HOOKS)
def test_every_example_is_a_plugin(hook: str) -> None:
    installed = at_work(example(hook))
    assert [each.plugin_name for each in installed.hooks.implementations(hook)] == ["example"]


def test_the_file_is_in_the_order_of_a_requests_life() -> None:
    life = [
        *(
            "keys",
            "validate",
            "kubernetes",
            "select",
            "resolve",
            "devices",
            "chain",
            "runtime_config",
            "order",
            "invoker",
            "ipam",
        ),
        *("attached", "undone", "detached", "merge", "finished", "health", "allocations", "upkeep"),
    ]
    assert [hook.removeprefix("multus_") for hook in HOOKS] == life
