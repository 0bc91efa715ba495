from __future__ import annotations

import pytest
from contract.given import at_work, example, plugin_named
from unit.values import conf_of

from multus.api.allocations import AddressRange
from multus.api.errors import TryAgainLater
from multus.registry.entry import Entry
from multus.registry.hooks import PluginFailed
from multus.testing.session import new_session


def listed(*entries: Entry) -> list[AddressRange]:
    return at_work(*entries).hooks.allocations(conf_of(), new_session())


def test_the_example_lists_what_it_has_and_how_to_free_it() -> None:
    (found,) = listed(example("multus_allocations"))
    (held,) = found.allocations
    assert (found.name, held.address, held.pod) == ("192.0.2.0/24", "192.0.2.7", "default/web")
    assert held.release[0].object.name == "blue"


def test_the_ranges_of_all_plugins_are_listed() -> None:
    def multus_allocations() -> AddressRange:
        return AddressRange("10.0.0.0/8", "", 9)

    found = listed(example("multus_allocations"), plugin_named("a", multus_allocations))
    assert [each.name for each in found] == ["10.0.0.0/8", "192.0.2.0/24"]


def test_what_cannot_be_read_is_the_error() -> None:
    def multus_allocations() -> None:
        raise TryAgainLater("the server is away")

    with pytest.raises(TryAgainLater, match="is away"):
        listed(plugin_named("a", multus_allocations))


def test_another_answer_is_refused_with_the_plugins_name() -> None:
    def multus_allocations() -> str:
        return "10.0.0.0/8"

    with pytest.raises(PluginFailed, match="plugin 'lazy', hook 'multus_allocations'"):
        listed(plugin_named("lazy", multus_allocations))
