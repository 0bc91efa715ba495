"""Policy rules."""

from __future__ import annotations

import errno

import pytest

from multus.api.errors import InvalidConfig
from multus.netlink import Channel, Refused, rules
from multus.testing.netns import Netns


def ours(channel: Channel) -> list[tuple[str, int]]:
    """Source and table of the rules that have a source."""
    return [(each.source, each.table) for each in rules.list_all(channel) if each.source]


@pytest.mark.parametrize("source", ["10.1.2.3/32", "10.1.0.0/16", "fd00::3/128"])
@pytest.mark.parametrize("table", [100, 100_000])
def test_a_rule_is_added_listed_and_deleted(channel: Channel, source: str, table: int) -> None:
    channel.request([rules.add(source, table)])
    assert ours(channel) == [(source, table)]
    (rule,) = (each for each in rules.list_all(channel) if each.source)
    channel.request([rules.delete(rule)])
    assert ours(channel) == []
    channel.request([rules.delete(rule, missing_ok=True)])
    with pytest.raises(Refused) as caught:
        channel.request([rules.delete(rule)])
    assert caught.value.errno == errno.ENOENT


def test_of_rules_with_one_source_the_listed_one_is_deleted(channel: Channel) -> None:
    channel.request([rules.add("10.1.2.3", 100), rules.add("10.1.2.3", 101)])
    first, second = (each for each in rules.list_all(channel) if each.source)
    assert first.priority < second.priority
    channel.request([rules.delete(second)])
    assert ours(channel) == [("10.1.2.3/32", first.table)]


def test_the_kernels_own_rules_are_listed_as_it_shows_them(channel: Channel, netns: Netns) -> None:
    for version, family in (("-4", 2), ("-6", 10)):
        shown = [
            (each["priority"], {"local": 255, "main": 254, "default": 253}[each["table"]])
            for each in netns.ip(version, "rule", "show")
        ]
        listed = [each for each in rules.list_all(channel) if each.family == family]
        assert [(each.priority, each.table) for each in listed] == shown


def test_a_table_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"the table of the rule for 10\.1\.2\.3 is -1"):
        rules.add("10.1.2.3", -1)
