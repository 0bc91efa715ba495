"""The engine as a whole, on invokers that write down what they are asked."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from contract.given import Recorder, at_work, merger, plugin_named, source
from hypothesis import given
from hypothesis import strategies as st
from unit.values import conf_of, request_of

from multus.api.conf import Conf
from multus.api.errors import (
    BadEnvironment,
    CNIError,
    Interrupted,
    InvalidConfig,
    IOFailure,
    MissingPlugin,
)
from multus.api.invoker import NothingDone
from multus.api.network import Invocation, Outcome, Plugin
from multus.api.result import Result
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.registry.entry import Entry
from multus.state.journal import Journal

OWN_NETNS = f"/proc/{os.getpid()}/ns/net"


def engine_of(recorder: Recorder, *entries: Entry) -> Engine:
    installed = at_work(*entries, recorder.plugin(), merger())
    return Engine(installed, Log.from_conf({"logToStderr": False}))


@pytest.fixture
def conf(tmp_path: Path) -> Conf:
    return conf_of(cniDir=str(tmp_path / "state"))


def records(conf: Conf) -> list[str]:
    return [name for name in os.listdir(conf.cni_dir) if ":" in name]


class TestUndoing:
    @given(st.integers(min_value=0, max_value=5), st.sets(st.integers(0, 5)))
    def test_whichever_fails_all_that_were_begun_are_undone_in_reverse(
        self, failing: int, stuck: set[int]
    ) -> None:
        names = ["eth0", *(f"net{i}" for i in range(5))]
        errors: dict[str, CNIError] = {f"ADD_{names[failing]}": InvalidConfig("no such card")}
        errors |= {f"DEL_{names[i]}": IOFailure(f"stuck {i}") for i in stuck}
        recorder = Recorder(**errors)
        with tempfile.TemporaryDirectory() as folder:
            conf = conf_of(cniDir=os.path.join(folder, "state"))
            with pytest.raises(InvalidConfig) as caught:
                engine_of(recorder, source(*"abcdef")).add(request_of(), conf)
            begun = names[: failing + 1]
            said = [f"{each.verb} {each.ifname}" for each in recorder.calls]
            assert said == [f"ADD {n}" for n in begun] + [f"DEL {n}" for n in reversed(begun)]
            left = [i for i in sorted(stuck) if i <= failing]
            assert [f"stuck {i}" in caught.value.details for i in left] == [True] * len(left)
            assert bool(records(conf)) == bool(left)
            if left:
                # What is still there is removed by the next DEL, and nothing else is asked.
                recorder.errors.clear()
                recorder.calls.clear()
                engine_of(recorder, source("a")).delete(request_of("DEL"), conf)
                assert [c.ifname for c in recorder.calls] == [names[i] for i in reversed(left)]
                assert records(conf) == []

    def test_what_did_nothing_is_not_undone(self, conf: Conf) -> None:
        recorder = Recorder(ADD_net0=NothingDone("cannot be started"))
        with pytest.raises(NothingDone):
            engine_of(recorder, source("a", "b", "c")).add(request_of(), conf)
        assert recorder.said == ["ADD a eth0", "ADD b net0", "DEL a eth0"]
        assert records(conf) == []

    def test_of_a_chain_only_the_steps_that_were_begun_are_undone(self, conf: Conf) -> None:
        class Chain(Recorder):
            name = "chain"

            def add(self, invocation: Invocation) -> Result:
                result = super().add(invocation)
                if invocation.plugin.type == "tune":
                    raise InvalidConfig("cannot tune")
                return result

        def multus_chain() -> list[Plugin]:
            return [Plugin({"type": "tune"}), Plugin({"type": "count"})]

        chain = Chain()
        with pytest.raises(InvalidConfig, match="cannot tune"):
            engine_of(chain, source("make"), plugin_named("p", multus_chain)).add(
                request_of(), conf
            )
        assert chain.said == ["ADD make eth0", "ADD tune eth0", "DEL tune eth0", "DEL make eth0"]

    def test_an_interruption_undoes_everything_too(self, conf: Conf) -> None:
        class Pressed(Recorder):
            def add(self, invocation: Invocation) -> Result:
                result = super().add(invocation)
                if invocation.ifname == "net0":
                    raise Interrupted
                return result

        recorder = Pressed()
        with pytest.raises(Interrupted):
            engine_of(recorder, source("a", "b")).add(request_of(), conf)
        assert recorder.said == ["ADD a eth0", "ADD b net0", "DEL b net0", "DEL a eth0"]
        assert records(conf) == []


class TestAddedTwice:
    def test_while_the_namespace_lives_the_second_is_refused(self, conf: Conf) -> None:
        recorder = Recorder()
        engine = engine_of(recorder, source("a"))
        engine.add(request_of(netns=OWN_NETNS), conf)
        with pytest.raises(BadEnvironment, match="DEL it before"):
            engine.add(request_of(netns=OWN_NETNS), conf)
        assert recorder.said == ["ADD a eth0"]
        assert records(conf) == ["c1:eth0"]

    def test_in_another_namespace_what_was_there_is_removed_first(self, conf: Conf) -> None:
        recorder = Recorder()
        engine = engine_of(recorder, source("a"))
        engine.add(request_of(), conf)
        engine.add(request_of(netns=OWN_NETNS), conf)
        assert recorder.said == ["ADD a eth0", "DEL a eth0", "ADD a eth0"]

    def test_another_interface_of_the_same_container_is_another_attachment(
        self, conf: Conf
    ) -> None:
        recorder = Recorder()
        engine = engine_of(recorder, source("a"))
        for ifname in ("eth0", "eth1"):
            engine.add(request_of(netns=OWN_NETNS, ifname=ifname), conf)
        engine.delete(request_of("DEL", ifname="eth0"), conf)
        assert recorder.said == ["ADD a eth0", "ADD a eth1", "DEL a eth0"]
        assert records(conf) == ["c1:eth1"]


class TestRemoving:
    def test_needs_neither_the_source_nor_its_configuration(self, conf: Conf) -> None:
        recorder = Recorder()
        engine_of(recorder, source("a", "b")).add(request_of(), conf)
        engine_of(recorder).delete(request_of("DEL"), conf)
        assert recorder.said[2:] == ["DEL b net0", "DEL a eth0"]

    def test_can_be_repeated(self, conf: Conf) -> None:
        recorder = Recorder()
        engine = engine_of(recorder, source("a"))
        engine.add(request_of(), conf)
        for _ in range(3):
            engine.delete(request_of("DEL"), conf)
        assert records(conf) == []

    def test_goes_on_past_errors_and_tells_all(self, conf: Conf) -> None:
        recorder = Recorder()
        engine = engine_of(recorder, source("a", "b", "c"))
        engine.add(request_of(), conf)
        recorder.errors = {"DEL_net1": IOFailure("one"), "DEL_eth0": IOFailure("two")}
        with pytest.raises(IOFailure) as caught:
            engine.delete(request_of("DEL"), conf)
        assert "one" in caught.value.msg and "two" in caught.value.details
        assert recorder.said[3:] == ["DEL c net1", "DEL b net0", "DEL a eth0"]

    def test_without_an_invoker_the_record_stays(self, conf: Conf) -> None:
        engine_of(Recorder(), source("a")).add(request_of(), conf)
        bare = Engine(at_work(), Log.from_conf({"logToStderr": False}))
        with pytest.raises(MissingPlugin, match="install multus-invoker-exec"):
            bare.delete(request_of("DEL"), conf)
        assert records(conf) == ["c1:eth0"]


def test_what_is_written_down_is_what_was_handed_on(conf: Conf) -> None:
    recorder = Recorder()
    engine_of(recorder, source("a", "b")).add(request_of(), conf)
    record = Journal(conf.cni_dir).find("c1", "eth0")
    assert record is not None
    planned = [step for index in record.left() for step in record.planned[index].steps]
    written = [step.config for step in planned if step.invoker == recorder.name]
    assert written == [each.config for each in recorder.calls]


def test_a_bug_of_our_own_is_told_to_observers_as_an_error(
    conf: Conf, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Outcome] = []

    def multus_finished(outcome: Outcome) -> None:
        outcomes.append(outcome)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("x")

    engine = engine_of(Recorder(), source("a"), plugin_named("w", multus_finished))
    monkeypatch.setattr("multus.engine.order.order", broken)
    with pytest.raises(ZeroDivisionError):
        engine.add(request_of(), conf)
    (outcome,) = outcomes
    assert outcome.error is not None and "ZeroDivisionError" in outcome.error.msg
