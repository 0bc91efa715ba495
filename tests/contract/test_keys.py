from __future__ import annotations

import pytest
from contract.given import at_work, example, plugin_named

from multus.api.keys import PATH, TEXT, Key
from multus.registry.hooks import PluginFailed


def test_the_example_names_its_key() -> None:
    installed = at_work(example("multus_keys"))
    (key,) = installed.hooks.configuration_keys()
    assert (key.name, key.kind, key.default) == ("inventory", PATH, '"/etc/inventory"')


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


def test_what_is_no_key_is_refused_with_the_plugins_name() -> None:
    def multus_keys() -> list[str]:
        return ["inventory"]

    hooks = at_work(plugin_named("lazy", multus_keys)).hooks
    with pytest.raises(PluginFailed, match=r"plugin 'lazy', hook 'multus_keys'"):
        hooks.configuration_keys()
