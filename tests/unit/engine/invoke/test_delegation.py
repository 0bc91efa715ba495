"""What an invoker delegates is carried out as the engine's own plugins are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from contract.given import Recorder, at_work, plugin_named
from unit.engine.invoke.given import Aged
from unit.values import conf_of, delegate_of, request_of

from multus.api.delegation import Delegated, Delegating, delegated
from multus.api.errors import CNIError, InvalidConfig, MissingPlugin, NotStarted
from multus.api.invoker import Declined, Invoker, NothingDone
from multus.api.network import Delegate, Invocation, Plugin, Provenance
from multus.api.result import IP, Result
from multus.engine.invoke.attach import attach
from multus.engine.invoke.carrier import Carrier
from multus.engine.invoke.detach import detach
from multus.engine.invoke.plan import plan
from multus.engine.invoke.upkeep import status
from multus.testing.session import new_session

NODE, TENANT = Provenance.NODE, Provenance.TENANT


class Outer(Delegating):
    """Leaves the work to a plugin of type ``inner``, with *more* of its configuration."""

    name = "outer"

    def __init__(self, **more: Any) -> None:
        self.more = more

    def inner(self, invocation: Invocation) -> Delegated:
        return delegated(invocation, {"type": "inner", **self.more})


def call_of(outer: Invoker, *inner: Invoker | Declined, **keys: Any) -> Carrier:
    def offering(kind: str, offer: Invoker | Declined) -> Any:
        def multus_invoker(plugin: Plugin) -> Invoker | Declined | None:
            return offer if plugin.type == kind else None

        return multus_invoker

    offers = [("outer", outer), *(("inner", each) for each in inner)]
    installed = at_work(
        *(plugin_named(f"invoker-{at}", offering(*each)) for at, each in enumerate(offers))
    )
    return Carrier(installed, new_session(), request_of(), conf_of(**keys))


def network(provenance: Provenance = NODE, **config: Any) -> Delegate:
    return delegate_of("net", "outer", ifname="eth0", provenance=provenance, **config)


def add(call: Carrier, delegate: Delegate) -> Result:
    (planned,) = plan([delegate], call)
    return attach(planned, call).result


class Giving(Recorder):
    name = "inner"
    node_keys = frozenset({"logFile"})

    def add(self, invocation: Invocation) -> Result:
        super().add(invocation)
        return Result(ips=(IP("10.0.0.2/24"),))


def test_the_delegated_plugin_gets_the_request_and_its_own_configuration() -> None:
    inner = Giving()
    call = call_of(Outer(mtu=1450), inner)
    assert add(call, network()).ips[0].address == "10.0.0.2/24"
    (got,) = inner.calls
    assert got.config == {"type": "inner", "mtu": 1450, "name": "net", "cniVersion": "1.0.0"}
    assert (got.verb, got.ifname, got.request) == ("ADD", "eth0", call.request)
    assert (got.plugin.type, got.provenance) == ("inner", NODE)


@pytest.mark.parametrize("provenance", [NODE, TENANT])
def test_the_keys_of_the_nodes_owner_reach_it_from_the_owner_alone(provenance: Provenance) -> None:
    inner = Giving()
    add(call_of(Outer(logFile="/etc/passwd"), inner), network(provenance))
    (got,) = inner.calls
    assert ("logFile" in got.config) == (provenance is NODE)
    assert got.provenance is provenance
    assert got.serves_path("dataDir", "/etc") == (provenance is NODE)


@pytest.mark.parametrize("config", [{"type": "multus"}, {"ipam": {"type": "multus-shim"}}])
def test_a_tenants_does_not_start_multus(config: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidConfig, match="may not start Multus"):
        add(call_of(Outer(**config), Giving()), network(TENANT))


@pytest.mark.parametrize("kind", ["../bin/sh", "", 7])
def test_a_type_is_a_bare_name(kind: object) -> None:
    with pytest.raises(InvalidConfig, match="delegated by type 'outer'"):
        add(call_of(Outer(type=kind), Giving()), network())


def test_a_list_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="one plugin can be delegated"):
        add(call_of(Outer(type=None, plugins=[{"type": "inner"}]), Giving()), network())


def test_the_next_invoker_serves_what_one_declines() -> None:
    inner = Giving()
    add(call_of(Outer(), Declined("inner", "for a reason"), inner), network())
    assert inner.said == ["ADD inner eth0"]


def test_the_configuration_names_the_invoker_of_the_type() -> None:
    call = call_of(Outer(), Giving(), invokers={"inner": "exec"})
    with pytest.raises(MissingPlugin, match="'exec'"):
        add(call, network())


def test_the_version_is_one_that_both_know() -> None:
    inner = Aged("0.4.0")
    add(call_of(Outer(), inner), network())
    assert [each.cni_version for each in inner.calls] == ["1.0.0", "0.4.0"]


def test_check_is_in_a_version_that_both_know_too() -> None:
    inner = Aged("0.4.0")
    call = call_of(Outer(), inner)
    (planned,) = plan([network()], call)
    (step,) = planned.steps
    Outer().check(call.invocation("CHECK", planned.delegate, step.plugin, step.config))
    assert [each.cni_version for each in inner.calls] == ["1.0.0", "0.4.0"]


class Failing(Invoker):
    name = "inner"

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def add(self, invocation: Invocation) -> Result:
        return self._answer()

    def delete_one(self, invocation: Invocation) -> None:
        self._answer()

    def status(self, invocation: Invocation) -> None:
        self._answer()

    def _answer(self) -> Result:
        if self.error is not None:
            raise self.error
        return "no result"  # type: ignore[return-value]


@pytest.mark.parametrize("error", [InvalidConfig("nothing fits"), ValueError("nothing fits"), None])
def test_an_error_names_both_plugins(error: Exception | None) -> None:
    call = call_of(Outer(), Failing(error))
    with pytest.raises(CNIError) as caught:
        add(call, network())
    said = str(caught.value)
    assert "plugin 'outer'" in said
    assert "delegated plugin 'inner'" in said
    assert ("nothing fits" in said) or "'no result'" in said
    if error is not None:
        (done,) = detach(list(enumerate(plan([network()], call))), {}, call)
        assert "delegated plugin 'inner'" in str(done.error)
        with pytest.raises(CNIError, match="delegated plugin 'inner'"):
            status([network()], call)


def test_the_outer_plugin_gets_its_del_when_the_inner_one_did_not_start() -> None:
    with pytest.raises(NotStarted) as caught:
        add(call_of(Outer(), Failing(NothingDone("no binary"))), network())
    assert not isinstance(caught.value, NothingDone)


def test_each_verb_is_the_delegated_plugins() -> None:
    inner = Giving()
    call = call_of(Outer(), inner)
    planned = plan([network()], call)
    detach(list(enumerate(planned)), {}, call)
    status([network()], call)
    assert inner.said == ["DEL inner eth0", "STATUS inner eth0"]


def test_a_delegated_plugin_that_leaves_nothing_gets_no_del() -> None:
    inner = Giving()
    inner.leaves_nothing = True
    call = call_of(Outer(), inner)
    detach(list(enumerate(plan([network()], call))), {}, call)
    assert inner.calls == []
