"""Tests for plugins that name devices."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from multus.api.conf import Conf
from multus.api.errors import CNIError, TryAgainLater
from multus.api.request import Request
from multus.api.session import Session
from multus.testing.conformance.subject import Sample, Subject


@pytest.fixture
def conf(sample: Sample, conf_with: Callable[..., Conf]) -> Conf:
    if not sample.conf:
        pytest.skip("the sample has no 'conf' that makes it name devices")
    return conf_with(**sample.conf)


def test_asking_twice_names_the_same_devices_in_the_same_order(
    subject: Subject, conf: Conf, request_: Request, new_session: Callable[[], Session]
) -> None:
    # A session caches reads, so the second request has its own session.
    first, second = (
        subject.alone.hooks.devices(request_, conf, session)
        for session in (new_session(), new_session())
    )
    assert {key: list(value) for key, value in first.items()} == second


def test_devices_that_cannot_be_read_fail_the_request(
    subject: Subject,
    sample: Sample,
    conf_with: Callable[..., Conf],
    request_: Request,
    session: Session,
) -> None:
    if sample.away is None:
        pytest.skip("the sample has no 'away', so no service can be unreachable")
    with pytest.raises(CNIError) as caught:
        subject.alone.hooks.devices(request_, conf_with(**sample.away), session)
    assert isinstance(caught.value, TryAgainLater), (
        "a container must not start without a device that it was assigned: raise TryAgainLater"
    )
