"""What holds for a source."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from multus.api.conf import Conf
from multus.api.errors import CNIError, NotAvailable, TryAgainLater
from multus.api.network import Delegate
from multus.api.request import Request
from multus.api.session import Session
from multus.testing.conformance.subject import Sample, Subject


@pytest.fixture
def conf(sample: Sample, conf_with: Callable[..., Conf]) -> Conf:
    if not sample.conf:
        pytest.skip("the sample has no 'conf' with which it selects something")
    return conf_with(**sample.conf)


def test_what_it_selects_it_resolves(
    subject: Subject, conf: Conf, request_: Request, session: Session
) -> None:
    hooks = subject.alone.hooks
    assert hooks.validate(conf) == []
    (selection,) = hooks.select(request_, conf, session)
    assert selection.elements and selection.origin
    for element in selection.elements:
        assert element.source == subject.entry.name, "an element says who selected it"
        assert element.origin, "an element says where it stands"
        found = element.config or hooks.resolve(element, request_, conf, session)
        assert isinstance(found, Mapping | Delegate)


def test_asking_twice_gives_the_same(
    subject: Subject, conf: Conf, request_: Request, new_session: Callable[[], Session]
) -> None:
    hooks = subject.alone.hooks
    # A session remembers what was read, so the second request has one of its own.
    sessions = (new_session(), new_session())
    first, second = (hooks.select(request_, conf, each) for each in sessions)
    assert first == second
    for element in first[0].elements:
        again = [hooks.resolve(element, request_, conf, each) for each in sessions]
        assert again[0] == again[1]


def test_a_source_that_is_away_fails_the_request(
    subject: Subject,
    sample: Sample,
    conf_with: Callable[..., Conf],
    request_: Request,
    session: Session,
) -> None:
    if sample.away is None:
        pytest.skip("the sample has no 'away': it asks nothing that could be")
    conf, hooks = conf_with(**sample.away), subject.alone.hooks
    with pytest.raises(CNIError) as caught:
        for selection in hooks.select(request_, conf, session):
            for element in selection.elements:
                hooks.resolve(element, request_, conf, session)
    assert isinstance(caught.value, TryAgainLater | NotAvailable), (
        "no container may come up with fewer networks than it asked for: raise TryAgainLater"
    )
