"""What a configuration may name, by who wrote it, whatever source it comes from."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from contract.given import at_work, plugin_named
from unit.values import conf_of, request_of
from work import calls

from multus.api.errors import InvalidConfig
from multus.api.invoker import Invoker
from multus.api.network import Delegate, Element, Invocation, Plugin, Provenance, Role, Selection
from multus.api.result import Result
from multus.api.session import Session
from multus.engine.invoke.attach import attach
from multus.engine.invoke.call import Call
from multus.engine.invoke.detach import detach
from multus.engine.invoke.plan import plan
from multus.engine.invoke.upkeep import collect_garbage, status
from multus.engine.permit import LARGEST, MOST_PLUGINS
from multus.engine.pipeline import Engine
from multus.engine.resolve import resolve
from multus.log import Log
from multus.registry.loading import Installed
from multus.state.lines import planned_wire
from multus.state.record import Record, applied
from multus.testing.session import new_session

NODE, TENANT = Provenance.NODE, Provenance.TENANT


def resolved(config: dict[str, Any], provenance: Provenance) -> Delegate:
    """What becomes of a network that a source selects with this configuration."""

    def multus_select() -> Selection:
        element = Element("net", "entry 1", "source-test", config=config, provenance=provenance)
        return Selection(Role.DEFAULT, (element,), "the test")

    installed = at_work(plugin_named("source-test", multus_select))
    (delegate,) = resolve(installed, request_of(), conf_of(), new_session()).delegates
    return delegate


def refused(config: dict[str, Any], provenance: Provenance = TENANT) -> str:
    with pytest.raises(InvalidConfig) as caught:
        resolved(config, provenance)
    return caught.value.msg


class TestOurOwnPrograms:
    @pytest.mark.parametrize("kind", ["multus", "multus-shim", "multus-default-route", "multus2"])
    def test_are_refused_from_a_tenant(self, kind: str) -> None:
        message = refused({"type": kind, "name": "evil"})
        for part in ("network 'evil'", "entry 1", "'type'", repr(kind), "name the plugin"):
            assert part in message

    @pytest.mark.parametrize(
        "config",
        [
            {"plugins": [{"type": "ptp"}, {"type": "multus"}]},
            {"type": "bridge", "ipam": {"type": "multus"}},
            {"type": "ptp", "ipam": {"type": "multus-shim", "binDir": "/tmp"}},
            {"type": "bridge", "ipam": {"TYPE": "multus"}},
            {"type": "bridge", "ipam": {"type": "static", "Type": "multus"}},
            {"type": "flannel", "delegate": {"type": "multus"}},
            {"plugins": [{"type": "x", "chain": [[{"tYpe": "multus"}]]}]},
        ],
    )
    def test_are_refused_wherever_a_plugin_may_start_them(self, config: dict[str, Any]) -> None:
        assert "multus" in refused({"name": "evil", **config})

    @pytest.mark.parametrize(
        "config",
        [
            {"type": "bridge", "bridge": "multus0", "ipam": {"type": "host-local"}},
            {"type": "bridge", "args": {"cni": {"note": "multus"}}},
            {"type": "my-multus"},
        ],
    )
    def test_may_be_named_elsewhere(self, config: dict[str, Any]) -> None:
        assert resolved(config, TENANT).types == config["type"]

    @pytest.mark.parametrize("kind", ["multus", "multus-shim"])
    def test_are_refused_from_the_node_where_they_would_call_themselves(self, kind: str) -> None:
        assert "would call itself" in refused({"type": kind}, NODE)

    def test_of_other_names_are_the_nodes_choice(self) -> None:
        assert resolved({"type": "multus-cousin"}, NODE).types == "multus-cousin"

    def test_a_source_that_makes_its_own_delegates_is_no_way_around(self) -> None:
        def multus_select() -> Selection:
            return Selection(Role.DEFAULT, (Element("net", "entry 1", "source-test"),), "the test")

        def multus_resolve() -> Delegate:
            return Delegate("net", (Plugin({"type": "multus"}),), "1.0.0")

        installed = at_work(plugin_named("source-test", multus_select, multus_resolve))
        with pytest.raises(InvalidConfig, match="'multus'"):
            resolve(installed, request_of(), conf_of(), new_session())

    def test_a_del_of_what_was_refused_succeeds(self, tmp_path: Any) -> None:
        from multus.registry.index import discover
        from multus.registry.loading import load

        conf = conf_of(delegates=[{"type": "multus"}], cniDir=str(tmp_path / "cni"))
        engine = Engine(load(discover()), Log.from_conf({"logToStderr": False}))
        with pytest.raises(InvalidConfig, match="would call itself"):
            engine.add(request_of(netns="/run/netns/none"), conf)
        engine.delete(request_of("DEL"), conf)


class TestSizes:
    def test_a_configuration_of_a_tenant_is_bounded(self) -> None:
        assert resolved({"type": "x", "pad": "p" * (LARGEST // 2)}, TENANT)
        message = refused({"type": "x", "pad": "p" * LARGEST})
        assert str(LARGEST) in message
        assert resolved({"type": "x", "pad": "p" * LARGEST}, NODE)

    def test_a_chain_of_a_tenant_is_bounded(self) -> None:
        chain = [{"type": "x"}] * (MOST_PLUGINS + 1)
        assert resolved({"plugins": chain[1:]}, TENANT)
        assert f"{MOST_PLUGINS + 1} entries" in refused({"plugins": chain})
        assert resolved({"plugins": chain}, NODE)

    def test_looking_at_the_largest_is_little_work(self) -> None:
        def look(entries: int) -> int:
            nested = [{"type": "y"} for _ in range(entries)]
            return calls(lambda: resolved({"type": "x", "list": nested}, TENANT))

        largest = LARGEST // 16
        assert look(largest) - look(0) < 100 * largest


class Keeper(Invoker):
    """Keeps what it is handed."""

    name = "keeper"
    node_keys = frozenset(["folder", "level"])
    got: list[Invocation]

    def __init__(self) -> None:
        self.got = []

    def add(self, invocation: Invocation) -> Result:
        self.got.append(invocation)
        return Result()

    def delete_one(self, invocation: Invocation) -> None:
        self.got.append(invocation)

    def status(self, invocation: Invocation) -> None:
        self.got.append(invocation)

    def gc(self, invocation: Invocation) -> None:
        self.got.append(invocation)


class Plain(Keeper):
    """As a binary: it has no keys of the node's."""

    node_keys = frozenset()


CONFIG = {"type": "x", "name": "net", "folder": "/etc", "level": 1, "mtu": 1400}


def installed_with(invoker: Invoker) -> Installed:
    def multus_invoker() -> Invoker:
        return invoker

    return at_work(plugin_named("invoker-test", multus_invoker))


def verbs(invoker: Keeper, provenance: Provenance) -> list[dict[str, Any]]:
    """The configurations that an invoker gets for each verb, DEL from the journal's line."""
    call = Call(installed_with(invoker), new_session(), request_of(), conf_of())
    delegate = Delegate("net", (Plugin(CONFIG),), "1.0.0", ifname="eth0", provenance=provenance)
    (planned,) = plan([delegate], call)
    attach(planned, call)
    record = applied(Record("x", request_of()), planned_wire(0, planned))
    detach([(0, record.planned[0])], {}, call)
    status([delegate], call)
    collect_garbage([(delegate, ()), (record.planned[0].delegate, ())], call)
    plugins = [dict(each.plugin.config) for each in invoker.got]
    return [dict(each.config) for each in invoker.got] + plugins


def test_keys_of_the_node_do_not_reach_an_invoker_from_a_tenant() -> None:
    found = verbs(Keeper(), TENANT)
    assert len(found) == 10
    for each in found:
        assert each["mtu"] == 1400
        assert not {"folder", "level"} & each.keys()


def test_they_do_from_the_node() -> None:
    assert all(each["folder"] == "/etc" for each in verbs(Keeper(), NODE))


def test_a_binary_gets_every_key() -> None:
    assert all(each["folder"] == "/etc" for each in verbs(Plain(), TENANT))


def test_what_is_left_out_is_said(tmp_path: Any) -> None:
    log = Log.from_conf({"logFile": str(tmp_path / "log"), "logLevel": "verbose"})
    call = Call(installed_with(Keeper()), Session(log), request_of(), conf_of())
    plan([Delegate("net", (Plugin(CONFIG),), "1.0.0", label="team/net")], call)
    text = (tmp_path / "log").read_text()
    assert "'folder'" in text
    assert "team/net" in text


class TestPlaces:
    """A tenant's network is served as when it was attached, whatever ``tenantPaths`` says now."""

    def invocation(self, then: Any, now: Any, provenance: Provenance = TENANT) -> Invocation:
        call = Call(installed_with(Plain()), new_session(), request_of(), conf_of(**then))
        delegate = Delegate("net", (Plugin(CONFIG),), "1.0.0", ifname="eth0", provenance=provenance)
        (planned,) = plan([delegate], call)
        record = applied(Record("x", request_of()), planned_wire(0, planned))
        today = Call(call.installed, call.session, call.request, conf_of(**now))
        step = record.planned[0].steps[0]
        return today.invocation("DEL", record.planned[0].delegate, step.plugin, step.config)

    def test_a_place_that_was_open_is_still(self) -> None:
        opened = {"tenantPaths": {"dataDir": ["/srv/ipam"]}}
        assert self.invocation(opened, {}).serves_path("dataDir", "/srv/ipam/a")

    def test_a_place_that_was_closed_is_still(self) -> None:
        opened = {"tenantPaths": {"dataDir": ["/srv/ipam"]}}
        assert not self.invocation({}, opened).serves_path("dataDir", "/srv/ipam/a")

    def test_without_a_record_todays_count(self) -> None:
        opened = {"tenantPaths": {"dataDir": ["/srv/ipam"]}}
        invocation = self.invocation({}, opened)
        older = evolve(invocation, delegate=evolve(invocation.delegate, tenant_paths=None))
        assert older.serves_path("dataDir", "/srv/ipam/a")

    def test_the_node_may_use_any(self) -> None:
        assert self.invocation({}, {}, NODE).serves_path("dataDir", "/anywhere")
