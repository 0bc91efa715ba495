"""How a verb of an invoker is called: its errors, its version, its time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from contract.given import Recorder
from unit.engine.invoke.given import NET, Aged, call_of, planned

from multus.api.errors import CNIError, IncompatibleVersion, Interrupted, InvalidConfig
from multus.api.network import Invocation
from multus.engine.invoke.calling import (
    call_in_common_version,
    call_verb,
    common_version,
    naming_delegate,
)
from multus.engine.invoke.carrier import Carrier
from multus.testing.session import new_session


def invocation_of(invoker: Recorder, **means: Any) -> Invocation:
    call = call_of(invoker)
    if means:
        call = Carrier(call.installed, new_session(**means), call.request, call.conf)
    ((_, one),) = planned(call, NET)
    return call.invocation("ADD", NET, one.steps[0].plugin, one.steps[0].config)


class TestErrors:
    def test_an_error_of_cni_passes_unchanged(self) -> None:
        recorder, error = Recorder(), InvalidConfig("no card")
        recorder.errors["ADD_eth0"] = error
        with pytest.raises(InvalidConfig) as caught:
            call_verb(recorder, recorder.add, invocation_of(recorder))
        assert caught.value is error

    @pytest.mark.parametrize("raised", [ZeroDivisionError("x"), SystemExit(3), MemoryError()])
    def test_anything_else_is_an_error_of_the_invoker_by_name(self, raised: BaseException) -> None:
        class Broken(Recorder):
            def check(self, invocation: Invocation) -> None:
                raise raised

        broken = Broken()
        with pytest.raises(CNIError, match="invoker 'recorder'") as caught:
            call_verb(broken, broken.check, invocation_of(broken))
        assert caught.value.__cause__ is raised

    def test_what_interrupts_the_process_passes(self) -> None:
        class Stopped(Recorder):
            def check(self, invocation: Invocation) -> None:
                raise Interrupted

        stopped = Stopped()
        with pytest.raises(Interrupted):
            call_verb(stopped, stopped.check, invocation_of(stopped))

    def test_the_delegate_is_named_before_the_message(self) -> None:
        error = InvalidConfig("no card", "enp9")
        named = naming_delegate(error, NET, NET.plugins[1])
        assert isinstance(named, InvalidConfig)
        assert named.msg == "network 'net', plugin 'tune', interface eth0: no card"
        assert named.details == "enp9"


class TestTime:
    def test_the_meter_is_told_the_verb_the_type_and_the_seconds(self) -> None:
        told: list[tuple[str, str, float]] = []

        def meter(verb: str, kind: str, seconds: float) -> None:
            told.append((verb, kind, seconds))

        recorder = Recorder()
        call_verb(recorder, recorder.add, invocation_of(recorder, meter=meter))
        ((verb, kind, seconds),) = told
        assert (verb, kind) == ("ADD", "make") and 0 <= seconds < 60

    def test_what_is_deleted_together_shares_the_time(self) -> None:
        told: list[float] = []

        def meter(verb: str, kind: str, seconds: float) -> None:
            told.append(seconds)

        recorder = Recorder()
        one = invocation_of(recorder, meter=meter)
        call_verb(recorder, recorder.delete, [one, one, one])
        assert len(told) == 3 and len(set(told)) == 1

    def test_to_prepare_is_no_invocation(self) -> None:
        told: list[object] = []

        def meter(*each: object) -> None:
            told.append(each)

        recorder = Recorder()
        call_verb(recorder, recorder.prepare, invocation_of(recorder, meter=meter))
        assert told == []


class TestVersion:
    @pytest.mark.parametrize(
        ("known", "newest"),
        [(("0.3.1", "1.0.0"), "1.0.0"), (("1.1.0",), "1.1.0"), ((), None), (("9.9.9",), None)],
    )
    def test_the_newest_that_both_know(self, known: tuple[str, ...], newest: str | None) -> None:
        aged = Aged(*known)
        assert common_version(aged, invocation_of(aged)) == newest

    @pytest.mark.parametrize("answer", [None, "1.0.0", [1], {"1.0.0": 1}])
    def test_a_malformed_answer_is_the_invokers_error(self, answer: Any) -> None:
        class Odd(Recorder):
            def versions(self, invocation: Invocation) -> Any:
                return answer

        odd = Odd()
        with pytest.raises(CNIError, match=r"'recorder' .*: versions returned"):
            common_version(odd, invocation_of(odd))

    def test_the_verb_is_called_once_more_and_no_more(self) -> None:
        class Stubborn(Aged):
            def versions(self, invocation: Invocation) -> tuple[str, ...]:
                return ("0.4.0",)

        stubborn = Stubborn()  # it says that it knows 0.4.0, and refuses that too
        add: Callable[[Invocation], object] = stubborn.add
        with pytest.raises(IncompatibleVersion):
            call_in_common_version(stubborn, invocation_of(stubborn), add)
        assert [each.cni_version for each in stubborn.calls] == ["1.1.0", "0.4.0"]
