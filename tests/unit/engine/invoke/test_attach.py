"""ADD of one delegate: what each plugin gets, how far it came, which version is used."""

from __future__ import annotations

import pytest
from contract.given import Recorder
from unit.engine.invoke.given import NET, Aged, call_of
from unit.values import delegate_of

from multus.api.errors import IncompatibleVersion, InvalidConfig
from multus.api.network import Attachment, Delegate
from multus.api.result import IP, Result
from multus.engine.invoke.attach import attach
from multus.engine.invoke.call import Call
from multus.engine.invoke.plan import plan


def attached(call: Call, delegate: Delegate) -> Attachment:
    (one,) = plan([delegate], call)
    return attach(one, call)


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
        (one,) = plan([NET], call)
        attach(one, call, lambda attachment: reached.append(len(attachment.versions)))
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
