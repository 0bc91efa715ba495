"""What observers and the log are told of a request at its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from contract.given import Recorder, at_work, plugin_named
from unit.engine.invoke.given import NET
from unit.values import conf_of, request_of

from multus.api import progress
from multus.api.errors import TryAgainLater
from multus.api.network import Attachment, Outcome
from multus.api.session import Session
from multus.engine.serving import Serving
from multus.log import Log
from multus.state.transaction import PATIENCE
from multus.testing.session import new_session


def serving_of(session: Session, *functions: Any, **keys: Any) -> Serving:
    installed = at_work(Recorder().plugin(), plugin_named("watching", *functions))
    return Serving(installed, request_of(), conf_of(**keys), session, progress.Times())


def test_the_outcome_has_the_stages_that_were_run_also_one_that_failed() -> None:
    told: list[Outcome] = []

    def multus_finished(outcome: Outcome) -> None:
        told.append(outcome)

    serving = serving_of(new_session(), multus_finished)
    with serving.stage("resolve"):
        pass
    with pytest.raises(ZeroDivisionError), serving.stage("order"):
        raise ZeroDivisionError
    serving.attached(Attachment(NET))
    serving.end()
    (outcome,) = told
    assert list(outcome.stages) == ["resolve", "order"]
    assert sum(outcome.stages.values()) <= outcome.seconds
    assert [each.delegate for each in outcome.attachments] == [NET]
    assert (outcome.command, outcome.result, outcome.error) == ("ADD", None, None)


@pytest.mark.parametrize("failing", [True, False])
def test_the_log_has_one_line_of_how_it_ended(tmp_path: Path, failing: bool) -> None:
    path = tmp_path / "log"
    session = Session(Log.from_conf({"logFile": str(path), "logLevel": "verbose"}))
    serving = serving_of(session)
    with serving.stage("resolve"):
        pass
    if failing:
        serving.outcome = evolve(serving.outcome, error=TryAgainLater("busy"))
    serving.end()
    (line,) = [json.loads(each) for each in path.read_text().splitlines()]
    assert line["msg"] == "ADD" and float(line["duration"]) >= 0
    assert line["level"] == ("error" if failing else "verbose")
    assert ("busy" in line.get("error", "")) is failing


def test_others_are_waited_for_until_the_callers_deadline_at_most() -> None:
    import time

    assert serving_of(new_session()).patience == PATIENCE
    assert 4 < serving_of(new_session(deadline=time.monotonic() + 5)).patience <= 5
    assert serving_of(new_session(deadline=time.monotonic() - 5)).patience == 0
    assert serving_of(new_session(deadline=time.monotonic() + 5000)).patience == PATIENCE


def test_the_call_holds_the_lock_inside_the_transaction(tmp_path: Path) -> None:
    serving = serving_of(new_session(), cniDir=str(tmp_path / "state"))
    assert serving.call.lock is None
    with serving.transaction(adding=True):
        assert serving.call.lock is not None
