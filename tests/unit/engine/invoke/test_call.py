"""One request as a transaction uses it: what is inherited, and what the outcome is told."""

from __future__ import annotations

import time

import pytest
from contract.given import Recorder, at_work, merger, source
from unit.engine.invoke.given import NET, call_of, planned
from unit.values import conf_of, delegate_of, request_of

from multus.api.errors import InvalidConfig
from multus.engine.invoke.carrier import Carrier
from multus.testing.session import new_session


def test_plugins_inherit_the_lock_while_it_is_held() -> None:
    call = call_of(Recorder())
    ((_, one),) = planned(call, NET)
    for each, inherited in ((call, ()), (call.holding(7), (7,))):
        step = one.steps[0]
        invocation = each.invocation("ADD", NET, step.plugin, step.config)
        assert invocation.inherited == inherited


def test_another_request_is_asked_for_with_the_same_means() -> None:
    call = call_of(Recorder()).holding(7)
    other = call.asked_by(request_of("DEL", container_id="c2"))
    assert (other.request.container_id, other.lock, other.session) == ("c2", 7, call.session)
    assert call.request.container_id == "c1"


class TestCarried:
    def test_each_attached_delegate_is_noted_with_its_time(self) -> None:
        call, before = call_of(Recorder()), time.time()
        for _, each in planned(call, NET, delegate_of("other", ifname="net0")):
            call.attach(each, lambda _: None)
        assert [each.delegate.name for each in call.carried] == ["net", "other"]
        assert all(before <= each.started <= time.time() for each in call.carried)
        assert all(0 <= each.seconds < 60 and each.error is None for each in call.carried)

    def test_the_one_that_failed_with_its_error(self) -> None:
        call = call_of(Recorder(ADD_eth0=InvalidConfig("no card")))
        ((_, one),) = planned(call, NET)
        with pytest.raises(InvalidConfig):
            call.attach(one, lambda _: None)
        (noted,) = call.carried
        assert noted.error is not None and noted.error.msg.endswith("no card")

    def test_what_a_del_detaches_is_noted_and_what_an_add_undoes_is_not(self) -> None:
        add = call_of(Recorder())
        add.detach(planned(add, NET), {})
        assert add.carried == []
        remove = add.asked_by(request_of("DEL"))
        remove.detach(planned(remove, NET, delegate_of("other", ifname="net0")), {})
        assert [each.delegate.name for each in remove.carried] == ["other", "net"]
        assert all(each.started > 0 and each.seconds > 0 for each in remove.carried)


def test_what_the_configuration_offers_is_ordered_named_and_planned() -> None:
    installed = at_work(source("a", "b"), Recorder().plugin(), merger())
    call = Carrier(installed, new_session(), request_of("DEL"), conf_of())
    offered = call.offered()
    assert [each.delegate.ifname for each in offered] == ["eth0", "net0"]
    assert [each.steps[0].invoker for each in offered] == ["recorder", "recorder"]


def test_what_cannot_be_resolved_is_an_error() -> None:
    with pytest.raises(InvalidConfig, match="no network source"):
        call_of(Recorder()).offered()
