from __future__ import annotations

import pytest
from contract.given import at_work, example, plugin_named

from multus.api.kubernetes import EVENTS, PODS, ApiUse
from multus.registry.hooks import PluginFailed


def test_the_example_names_what_it_reads() -> None:
    (use,) = at_work(example("multus_kubernetes")).hooks.kubernetes()
    assert (str(use), use.cached, use.required) == ("get subnets.example.com", ("spec",), True)


def test_what_all_plugins_do_is_gathered_in_the_order_of_their_names() -> None:
    def one() -> list[ApiUse]:
        return [ApiUse("get", PODS, "no pod is attached")]

    def two() -> tuple[ApiUse, ...]:
        return (
            ApiUse("patch", PODS, "no status is written", subresource="status"),
            ApiUse("create", EVENTS, "pods get no events"),
        )

    def none() -> None:
        return None

    for function in (one, two, none):
        function.__name__ = "multus_kubernetes"
    plugins = [
        plugin_named(name, function) for name, function in zip("zab", (one, two, none), strict=True)
    ]
    found = at_work(*plugins).hooks.kubernetes()
    assert [str(use) for use in found] == ["patch pods/status", "create events", "get pods"]


def test_another_value_is_refused_with_the_plugins_name() -> None:
    def multus_kubernetes() -> list[str]:
        return ["get pods"]

    hooks = at_work(plugin_named("lazy", multus_kubernetes)).hooks
    with pytest.raises(PluginFailed, match=r"plugin 'lazy', hook 'multus_kubernetes'"):
        hooks.kubernetes()
