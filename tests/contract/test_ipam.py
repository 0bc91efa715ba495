from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from contract.given import at_work, example, plugin_named

from multus import ipam
from multus.api.invoker import Declined
from multus.api.ipam import Ipam
from multus.api.network import Invocation
from multus.api.result import IP, Result
from multus.registry.entry import Entry
from multus.registry.hooks import PluginFailed
from multus.testing.invocation import Caller


class Given(Ipam):
    name = "given"

    def add(self) -> Result:
        return Result(ips=(IP("192.0.2.8/24"),))


def offering(name: str, answer: object, kind: str = "pool") -> Entry:
    def multus_ipam(kind: str) -> object:
        return answer if kind == wanted else None

    wanted = kind
    return plugin_named(name, multus_ipam)


def asked(*entries: Entry, **config: Any) -> Ipam:
    """What an invoker gets for an ``ipam`` object while these plugins are installed."""
    from attrs import evolve

    whole: Mapping[str, Any] = {"type": "ptp", "ipam": {"type": "pool", **config}}
    invocation = evolve(Caller().invocation("ADD", whole), ipams=at_work(*entries).hooks.ipams)
    pool = ipam.for_plugin(invocation)
    assert pool is not None
    return pool


def test_the_example_serves_its_type_and_no_other() -> None:
    given = asked(example("multus_ipam"), type="one-address").add()
    assert [ip.address for ip in given.ips] == ["192.0.2.7/32"]
    assert asked(example("multus_ipam")).name == "exec"


def test_the_first_offer_is_taken() -> None:
    assert asked(offering("a", None), offering("b", Given())).name == "given"
    pool = asked(offering("a", Declined("a", "no")), offering("b", Given()))
    assert (pool.name, pool.reason) == ("given", "")


def test_without_an_offer_the_binary_is_run_and_the_reason_is_known() -> None:
    pool = asked(offering("a", Declined("pool", "key 'x' of 'ipam'")))
    assert (pool.name, pool.reason) == ("exec", "key 'x' of 'ipam'")


def test_what_the_core_serves_no_plugin_is_asked_for() -> None:
    own = offering("a", Given(), "static")
    assert asked(own, type="static", addresses=[]).name == "static"
    assert asked(own, type="static", flavour="new").name == "given"


def test_another_answer_is_refused_with_the_plugins_name() -> None:
    with pytest.raises(PluginFailed, match="plugin 'lazy', hook 'multus_ipam'"):
        asked(offering("lazy", Given))


def test_a_plugin_sees_the_invocation() -> None:
    seen: list[Invocation] = []

    def multus_ipam(kind: str, invocation: Invocation) -> Ipam:
        seen.append(invocation)
        return Given()

    asked(plugin_named("a", multus_ipam), range="192.0.2.0/24")
    assert [each.config["ipam"]["range"] for each in seen] == ["192.0.2.0/24"]
