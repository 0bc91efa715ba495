"""Tests for observers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from multus.api.conf import Conf
from multus.api.errors import TryAgainLater
from multus.api.network import Attachment, Outcome
from multus.api.request import Request
from multus.api.session import Session
from multus.log import Log
from multus.registry.hooks import Observers
from multus.testing.conformance.cluster import SampleCluster
from multus.testing.conformance.subject import Sample, Subject

#: The most seconds that an observer may delay an answer while its service is unreachable.
PATIENCE = 30.0


def _tell_everything(
    subject: Subject, conf: Conf, request: Request, attachments: tuple[Attachment, ...]
) -> list[str]:
    """Call its hooks for a container's whole life; returns the exceptions."""
    raised: list[str] = []

    class Listening(Log):
        def error(self, msg: str, **fields: Any) -> None:
            raised.append(f"{msg}: {fields.get('error')}")

    with Session(Listening.from_conf({"logToStderr": False})) as session:
        _tell(subject.alone.hooks.observers(session), conf, request, attachments)
    return raised


def _tell(
    observers: Observers, conf: Conf, request: Request, attachments: tuple[Attachment, ...]
) -> None:
    failure = TryAgainLater("a test")
    for each in attachments:
        observers.attached(each, request, conf)
    done = Outcome("ADD", attachments, attachments[0].result, stages={"invoke": 0.01})
    observers.finished(done, request, conf)
    observers.undone(attachments[0].delegate, failure, request, conf)
    observers.finished(Outcome("ADD", error=failure), request, conf)
    for each in attachments:
        observers.detached(each.delegate, None, request, conf)
    observers.finished(Outcome("DEL"), request, conf)


def test_it_takes_all_that_it_is_told_and_keeps_off_standard_output(
    subject: Subject,
    sample: Sample,
    conf_with: Callable[..., Conf],
    request_: Request,
    attachments: tuple[Attachment, ...],
    cluster: SampleCluster,
    capfd: pytest.CaptureFixture[str],
) -> None:
    conf = conf_with(**sample.conf)
    assert _tell_everything(subject, conf, request_, attachments) == []
    assert cluster.api is None or cluster.api.requests, "it sent no request to the API server"
    assert capfd.readouterr().out == "", "standard output belongs to CNI"


def test_it_holds_no_answer_up_when_what_it_reports_to_is_away(
    subject: Subject,
    sample: Sample,
    conf_with: Callable[..., Conf],
    request_: Request,
    attachments: tuple[Attachment, ...],
) -> None:
    if sample.away is None:
        pytest.skip("the sample has no 'away', so no service can be unreachable")
    started = time.monotonic()
    _tell_everything(subject, conf_with(**sample.away), request_, attachments)
    assert time.monotonic() - started < PATIENCE
