"""DEL of delegates: the order, what goes on past errors, who is asked together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import evolve
from contract.given import Recorder
from unit.engine.invoke.given import NET, Aged, call_of, planned
from unit.values import delegate_of

from multus.api.errors import CNIError, IOFailure
from multus.api.network import Attachment, Invocation
from multus.api.result import Interface, Result
from multus.engine.invoke.detach import detach


class TestDetach:
    def test_goes_backwards_through_networks_and_chains(self) -> None:
        recorder = Recorder()
        call = call_of(recorder)
        other = delegate_of("other", ifname="net1")
        detached = detach(planned(call, NET, other), {}, call)
        assert recorder.said == ["DEL fake net1", "DEL tune eth0", "DEL make eth0"]
        assert [(each.number, each.error) for each in detached] == [(1, None), (0, None)]

    def test_every_plugin_gets_the_final_result_in_the_version_of_its_add(self) -> None:
        recorder = Recorder()
        call = call_of(recorder)
        final = Result(interfaces=(Interface("eth0"),))
        done = {0: Attachment(NET, final, versions=("1.0.0", "0.4.0"))}
        detach(planned(call, NET), done, call)
        assert [(each.prev_result, each.cni_version) for each in recorder.calls] == [
            (final, "0.4.0"),
            (final, "1.0.0"),
        ]

    @pytest.mark.parametrize("attached", [0, 1, 2])
    def test_only_steps_that_were_attached_get_the_requested_arguments(self, attached: int) -> None:
        """Another step may have failed because of them, and would fail again."""
        recorder = Recorder()
        call = call_of(recorder)
        args = {"IgnoreUnknown": "true", "MAC": "02:00:00:00:00:07", "IP": "10.0.0.1,10.0.0.2"}
        asked = evolve(NET, args=args)
        done = {0: Attachment(asked, versions=("1.1.0",) * attached)} if attached else {}
        detach(planned(call, asked), done, call)
        given = [dict(each.args) for each in reversed(recorder.calls)]
        assert given == [args] * attached + [{"IgnoreUnknown": "true"}] * (2 - attached)

    def test_goes_on_past_errors_and_keeps_them_with_their_network(self) -> None:
        recorder = Recorder(DEL_net1=IOFailure("stuck"), DEL_eth0=IOFailure("jammed"))
        call = call_of(recorder)
        other = delegate_of("other", ifname="net1")
        last = delegate_of("last", ifname="net2")
        detached = detach(planned(call, NET, other, last), {}, call)
        assert len(recorder.calls) == 4
        assert [len(each.errors) for each in detached] == [0, 1, 2]
        error = detached[2].error
        assert error is not None and error.msg.endswith("interface eth0: jammed")
        assert "plugin 'make'" in error.details

    def test_one_that_refuses_the_version_is_spoken_to_in_its_own(self) -> None:
        aged = Aged("0.4.0")
        call = call_of(aged)
        detached = detach(planned(call, NET), {}, call)
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
        (detached,) = detach(planned(call, NET), {}, call)
        assert len(detached.errors) == 2
        assert all("'odd'" in error.msg for error in detached.errors)
