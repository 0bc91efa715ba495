from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from contract.given import Recorder, at_work, plugin_named
from unit.values import conf_of, delegate_of, request_of

from multus.api.errors import CNIError, IncompatibleVersion, InvalidConfig, IOFailure
from multus.api.invoker import Invoker
from multus.api.network import Attachment, Delegate, Invocation, Plugin
from multus.api.result import IP, Interface, Result
from multus.engine import invoke
from multus.log import Log
from multus.state.record import Planned


class Aged(Recorder):
    """Knows some versions only, and refuses the others."""

    name = "aged"

    def __init__(self, *known: str) -> None:
        super().__init__()
        self.known = known

    def _record(self, invocation: Invocation) -> None:
        super()._record(invocation)
        if invocation.cni_version not in self.known:
            raise IncompatibleVersion(f"{invocation.cni_version} is not known")

    def versions(self, invocation: Invocation) -> Sequence[str]:
        return self.known


def call_of(invoker: Invoker, **keys: Any) -> invoke.Call:
    def multus_invoker(plugin: Plugin) -> Invoker:
        return invoker

    installed = at_work(plugin_named("invoker", multus_invoker))
    return invoke.Call(installed, Log.from_conf({}), request_of(), conf_of(**keys))


def planned(call: invoke.Call, *delegates: Delegate) -> list[tuple[int, Planned]]:
    return list(enumerate(invoke.plan(delegates, call)))


def attached(call: invoke.Call, delegate: Delegate) -> Attachment:
    (plan,) = invoke.plan([delegate], call)
    return invoke.attach(plan, call)


NET = delegate_of("net", "make", "tune", ifname="eth0", primary=True, cni_version="1.1.0")


class TestAttach:
    def test_each_plugin_of_a_chain_gets_the_result_of_the_one_before(self) -> None:
        recorder = Recorder()
        made = Result(ips=(IP("10.0.0.2/8"),))
        tuned = Result(ips=(IP("10.0.0.3/8"),))
        recorder.results = {"make": made, "tune": tuned}
        attachment = attached(call_of(recorder), NET)
        assert [each.prev_result for each in recorder.calls] == [None, made]
        assert (attachment.result, attachment.versions) == (tuned, ("1.1.0", "1.1.0"))
        assert attachment.invokers == ("recorder", "recorder")

    def test_how_far_it_came_is_told_after_each_step(self) -> None:
        reached: list[int] = []
        recorder = Recorder()
        call = call_of(recorder)
        (plan,) = invoke.plan([NET], call)
        invoke.attach(plan, call, lambda attachment: reached.append(len(attachment.versions)))
        assert reached == [1, 2]

    def test_an_error_names_the_network_the_plugin_and_the_interface(self) -> None:
        recorder = Recorder(ADD_eth0=InvalidConfig("no such card", "enp9"))
        with pytest.raises(InvalidConfig) as caught:
            attached(call_of(recorder), NET)
        assert caught.value.msg == "network 'net', plugin 'make', interface eth0: no such card"
        assert caught.value.details == "enp9"

    @pytest.mark.parametrize(
        ("known", "spoken"),
        [
            (("0.3.1", "0.4.0", "1.0.0"), "1.0.0"),
            (("0.1.0", "0.2.0"), "0.2.0"),
            (("1.1.0",), "1.1.0"),
        ],
    )
    def test_an_old_plugin_is_spoken_to_in_its_newest(
        self, known: tuple[str, ...], spoken: str
    ) -> None:
        aged = Aged(*known)
        attachment = attached(call_of(aged), delegate_of("net", ifname="x", cni_version="1.1.0"))
        assert attachment.versions == (spoken,)
        assert [each.cni_version for each in aged.calls] == list(dict.fromkeys(["1.1.0", spoken]))

    @pytest.mark.parametrize("known", [(), ("9.0.0",), ("x",)])
    def test_without_a_common_version_the_refusal_stands(self, known: tuple[str, ...]) -> None:
        aged = Aged(*known)
        with pytest.raises(IncompatibleVersion, match="'fake'"):
            attached(call_of(aged), delegate_of("net", ifname="x", cni_version="1.1.0"))
        assert len(aged.calls) == 1


class TestPlan:
    def test_holds_the_exact_configuration_and_who_carries_it_out(self) -> None:
        call = call_of(Recorder())
        delegate = Delegate("net", (Plugin({"type": "make", "x": 1}),), "0.4.0")
        (plan,) = invoke.plan([delegate], call)
        (step,) = plan.steps
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
            invoke.prepare(invoke.plan([NET, delegate_of("never")], call), call)
        assert unready.said == ["ADD make eth0", "ADD tune eth0"]


class TestDetach:
    def test_goes_backwards_through_networks_and_chains(self) -> None:
        recorder = Recorder()
        call = call_of(recorder)
        other = delegate_of("other", ifname="net1")
        detached = invoke.detach(planned(call, NET, other), {}, call)
        assert recorder.said == ["DEL fake net1", "DEL tune eth0", "DEL make eth0"]
        assert [(each.number, each.error) for each in detached] == [(1, None), (0, None)]

    def test_every_plugin_gets_the_final_result_in_the_version_of_its_add(self) -> None:
        recorder = Recorder()
        call = call_of(recorder)
        final = Result(interfaces=(Interface("eth0"),))
        done = {0: Attachment(NET, final, versions=("1.0.0", "0.4.0"))}
        invoke.detach(planned(call, NET), done, call)
        assert [(each.prev_result, each.cni_version) for each in recorder.calls] == [
            (final, "0.4.0"),
            (final, "1.0.0"),
        ]

    def test_goes_on_past_errors_and_keeps_them_with_their_network(self) -> None:
        recorder = Recorder(DEL_net1=IOFailure("stuck"), DEL_eth0=IOFailure("jammed"))
        call = call_of(recorder)
        other = delegate_of("other", ifname="net1")
        last = delegate_of("last", ifname="net2")
        detached = invoke.detach(planned(call, NET, other, last), {}, call)
        assert len(recorder.calls) == 4
        assert [len(each.errors) for each in detached] == [0, 1, 2]
        error = detached[2].error
        assert error is not None and error.msg.endswith("interface eth0: jammed")
        assert "plugin 'make'" in error.details

    def test_one_that_refuses_the_version_is_spoken_to_in_its_own(self) -> None:
        aged = Aged("0.4.0")
        call = call_of(aged)
        detached = invoke.detach(planned(call, NET), {}, call)
        assert [each.error for each in detached] == [None]
        assert [each.cni_version for each in aged.calls] == ["1.1.0", "1.1.0", "0.4.0", "0.4.0"]

    @pytest.mark.parametrize(
        "answer", [lambda: [], lambda: [None, None, None], lambda: None, lambda: ["bad", None]]
    )
    def test_an_answer_that_does_not_fit_is_an_error_of_each(
        self, answer: Callable[[], Any]
    ) -> None:
        class Odd(Recorder):
            name = "odd"

            def delete(self, invocations: Sequence[Invocation]) -> list[CNIError | None]:
                answered: list[CNIError | None] = answer()
                return answered

        call = call_of(Odd())
        (detached,) = invoke.detach(planned(call, NET), {}, call)
        assert len(detached.errors) == 2
        assert all("'odd'" in error.msg for error in detached.errors)


class TestGarbage:
    VALID = ({"containerID": "c1", "ifname": "eth0"},)

    def test_every_plugin_gets_its_networks_attachments(self) -> None:
        recorder = Recorder()
        assert invoke.collect_garbage([(NET, self.VALID)], call_of(recorder)) == []
        assert [each.verb for each in recorder.calls] == ["GC", "GC"]
        assert all(each.valid_attachments == self.VALID for each in recorder.calls)

    def test_goes_on_past_errors(self) -> None:
        recorder = Recorder(GC_eth0=IOFailure("stuck"))
        errors = invoke.collect_garbage([(NET, ()), (delegate_of("x"), ())], call_of(recorder))
        assert len(errors) == 2 and len(recorder.calls) == 3

    def test_leaves_out_who_wants_that(self) -> None:
        recorder = Recorder()
        assert (
            invoke.collect_garbage([(delegate_of("x", disable_gc=True), ())], call_of(recorder))
            == []
        )
        assert recorder.calls == []


class TestStatus:
    def test_the_first_error_is_passed_on_as_it_is(self) -> None:
        recorder = Recorder(STATUS_eth0=CNIError("no daemon", code=51))
        with pytest.raises(CNIError) as caught:
            invoke.status([NET, delegate_of("never")], call_of(recorder))
        assert (caught.value.msg, caught.value.number) == ("no daemon", 51)
        assert recorder.said == ["STATUS make eth0"]


def test_several_errors_are_one_with_the_others_in_its_details() -> None:
    errors = [IOFailure("a", "why"), InvalidConfig("b", "how"), InvalidConfig("c")]
    joined = invoke.joined(errors)
    assert isinstance(joined, IOFailure)
    assert (joined.msg, joined.number, joined.details) == ("a", 5, "why; b: how; c")
    assert invoke.joined(errors[:1]) is errors[0]
