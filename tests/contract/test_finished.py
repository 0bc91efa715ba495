from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from contract.given import Recorder, example, plugin_named, source
from unit.values import conf_of, request_of

from multus.api.conf import Conf
from multus.api.errors import CNIError, InvalidConfig
from multus.api.network import Outcome
from multus.engine.pipeline import Engine


@pytest.fixture
def outcomes() -> list[Outcome]:
    return []


@pytest.fixture
def watched(engine: Callable[..., Engine], outcomes: list[Outcome]) -> Engine:
    def multus_finished(outcome: Outcome) -> None:
        outcomes.append(outcome)

    return engine(source("a", "b"), plugin_named("watching", multus_finished))


def test_the_example_tells_how_it_ended(
    engine: Callable[..., Engine],
    recorder: Recorder,
    conf: Conf,
    capfd: pytest.CaptureFixture[str],
) -> None:
    telling = engine(source("fake"), example("multus_finished"))
    telling.add(request_of(), conf)
    recorder.errors["DEL_eth0"] = InvalidConfig("stuck")
    with pytest.raises(CNIError):
        telling.delete(request_of("DEL"), conf)
    said = capfd.readouterr().err
    assert "ADD ok\n" in said and "DEL network 'fake-net'" in said


def test_an_add_is_reported_with_its_whole_outcome(
    watched: Engine, conf: Conf, outcomes: list[Outcome]
) -> None:
    result = watched.add(request_of(), conf)
    (outcome,) = outcomes
    assert (outcome.command, outcome.result, outcome.error) == ("ADD", result, None)
    assert [each.delegate.ifname for each in outcome.attachments] == ["eth0", "net0"]
    assert all(each.seconds >= 0 for each in outcome.attachments)
    assert {"resolve", "order", "journal", "invoke", "merge"} <= set(outcome.stages)


def test_it_says_when_the_command_and_each_delegate_began_and_what_they_took(
    watched: Engine, conf: Conf, outcomes: list[Outcome]
) -> None:
    before = time.time()
    watched.add(request_of(), conf)
    watched.delete(request_of("DEL"), conf)
    for outcome, order in zip(outcomes, (["eth0", "net0"], ["net0", "eth0"]), strict=True):
        assert before <= outcome.started <= time.time()
        assert 0 < sum(each.seconds for each in outcome.delegates) < outcome.seconds
        assert [each.delegate.ifname for each in outcome.delegates] == order
        assert all(outcome.started <= each.started <= time.time() for each in outcome.delegates)
        assert (outcome.failed, {each.error for each in outcome.delegates}) == (None, {None})


def test_of_a_failed_add_it_says_which_delegate_failed_and_what_was_attached_before(
    watched: Engine, recorder: Recorder, conf: Conf, outcomes: list[Outcome]
) -> None:
    recorder.errors["ADD_net0"] = InvalidConfig("no such card")
    with pytest.raises(CNIError):
        watched.add(request_of(), conf)
    (outcome,) = outcomes
    assert [each.delegate.ifname for each in outcome.attachments] == ["eth0"]
    # The roll-back is not part of the list: every delegate is reported once.
    assert [each.delegate.ifname for each in outcome.delegates] == ["eth0", "net0"]
    assert outcome.failed is not None and outcome.failed.ifname == "net0"
    assert outcome.delegates[1].error is not None and outcome.error is not None
    assert "no such card" in outcome.delegates[1].error.msg


def test_of_a_failed_del_it_says_which_delegate_stayed(
    watched: Engine, recorder: Recorder, conf: Conf, outcomes: list[Outcome]
) -> None:
    watched.add(request_of(), conf)
    recorder.errors["DEL_eth0"] = InvalidConfig("stuck")
    with pytest.raises(CNIError):
        watched.delete(request_of("DEL"), conf)
    assert outcomes[1].failed is not None and outcomes[1].failed.ifname == "eth0"
    assert [each.error is None for each in outcomes[1].delegates] == [True, False]


def test_a_failure_is_reported_with_its_error(
    watched: Engine, recorder: Recorder, conf: Conf, outcomes: list[Outcome]
) -> None:
    recorder.errors["ADD_net0"] = InvalidConfig("no such card")
    with pytest.raises(CNIError) as caught:
        watched.add(request_of(), conf)
    (outcome,) = outcomes
    assert outcome.error is caught.value and outcome.result is None


def test_every_verb_that_changes_or_checks_is_reported(
    watched: Engine, conf: Conf, outcomes: list[Outcome]
) -> None:
    watched.add(request_of(), conf)
    with pytest.raises(CNIError):  # the namespace does not exist
        watched.check(request_of("CHECK"), conf)
    watched.delete(request_of("DEL"), conf)
    collecting = conf_of(**{**conf.raw, "cni.dev/valid-attachments": []})
    watched.collect_garbage(request_of("GC", container_id="", ifname="", netns=""), collecting)
    assert [each.command for each in outcomes] == ["ADD", "CHECK", "DEL", "GC"]
