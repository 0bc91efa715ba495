from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from contract.given import Recorder, example, plugin_named, source
from unit.values import request_of

from multus.api.conf import Conf
from multus.api.errors import InvalidConfig
from multus.api.network import Attachment
from multus.api.request import Request
from multus.engine.pipeline import Engine
from multus.state.journal import Journal


def test_the_example_tells_the_interface(
    engine: Callable[..., Engine], conf: Conf, capfd: pytest.CaptureFixture[str]
) -> None:
    engine(source("fake"), example("multus_attached")).add(request_of(), conf)
    assert "c1 eth0\n" in capfd.readouterr().err


def test_each_is_reported_after_it_is_recorded_and_before_the_next(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    told: list[tuple[str, int, int]] = []

    def multus_attached(attachment: Attachment, request: Request, conf: Conf) -> None:
        record = Journal(conf.cni_dir).find(request.container_id, request.ifname)
        assert record is not None
        told.append((attachment.delegate.ifname, len(record.done), len(recorder.calls)))

    engine(source("a", "b"), plugin_named("watching", multus_attached)).add(request_of(), conf)
    assert told == [("eth0", 1, 1), ("net0", 2, 2)]


def test_a_failed_attachment_is_not_reported(
    engine: Callable[..., Engine], recorder: Recorder, conf: Conf
) -> None:
    told: list[str] = []

    def multus_attached(attachment: Attachment) -> None:
        told.append(attachment.delegate.ifname)

    recorder.errors["ADD_net0"] = InvalidConfig("no such card")
    with pytest.raises(InvalidConfig):
        engine(source("a", "b", "c"), plugin_named("watching", multus_attached)).add(
            request_of(), conf
        )
    assert told == ["eth0"]


def test_what_an_observer_raises_is_logged_and_goes_no_further(
    engine: Callable[..., Engine],
    recorder: Recorder,
    conf: Conf,
    capfd: pytest.CaptureFixture[str],
) -> None:
    told: list[Any] = []

    def failing() -> None:
        raise RuntimeError("out of paper")

    def telling(attachment: Attachment) -> None:
        told.append(attachment)

    failing.__name__ = telling.__name__ = "multus_attached"
    observers = plugin_named("a-printer", failing), plugin_named("b", telling)
    engine(source("a", "b"), *observers).add(request_of(), conf)
    assert recorder.said == ["ADD a eth0", "ADD b net0"]
    assert len(told) == 2
    said = capfd.readouterr().err
    assert "'a-printer' failed in multus_attached" in said and "out of paper" in said
