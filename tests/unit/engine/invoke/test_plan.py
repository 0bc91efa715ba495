"""Which invoker carries a plugin out, and with which configuration."""

from __future__ import annotations

import pytest
from contract.given import Recorder
from unit.engine.invoke.given import NET, call_of
from unit.values import delegate_of

from multus.api.errors import InvalidConfig
from multus.api.network import Delegate, Invocation, Plugin
from multus.engine.invoke.plan import invoker_of, plan, prepare
from multus.state.lines import planned_wire
from multus.state.record import Step


class TestPlan:
    def test_holds_the_exact_configuration_and_who_carries_it_out(self) -> None:
        call = call_of(Recorder())
        delegate = Delegate("net", (Plugin({"type": "make", "x": 1}),), "0.4.0")
        (one,) = plan([delegate], call)
        (step,) = one.steps
        assert step.config == {"type": "make", "x": 1, "name": "net", "cniVersion": "0.4.0"}
        assert (step.invoker, step.plugin.invoker) == ("recorder", "recorder")

    def test_every_invoker_is_asked_whether_it_can_begin(self) -> None:
        class Unready(Recorder):
            def prepare(self, invocation: Invocation) -> None:
                self.calls.append(invocation)
                if invocation.plugin.type == "tune":
                    raise InvalidConfig("no such binary")

        unready = Unready()
        call = call_of(unready)
        with pytest.raises(InvalidConfig, match=r"'net', plugin 'tune'.*no such binary"):
            prepare(plan([NET, delegate_of("never")], call), call)
        assert unready.said == ["ADD make eth0", "ADD tune eth0"]

    def test_a_planned_step_keeps_its_invoker_and_a_recorded_one_has_it_chosen_again(self) -> None:
        first, second = Recorder(), Recorder()
        (one,) = plan([NET], call_of(first))
        for step in one.steps:
            assert step.chosen is first
            # Whoever would offer now, what was planned is carried out by the one that was chosen.
            assert invoker_of(step, NET, call_of(second)) is first
            recorded = Step(step.plugin, step.config, step.invoker)
            assert invoker_of(recorded, NET, call_of(second)) is second

    def test_the_journal_gets_the_invokers_name_alone(self) -> None:
        (one,) = plan([NET], call_of(Recorder()))
        for step in planned_wire(0, one)["steps"]:
            assert sorted(step) == ["config", "invoker"] and step["invoker"] == "recorder"
