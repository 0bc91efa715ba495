"""Tests for sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from multus.api.conf import Conf
from multus.api.errors import CNIError, NotAvailable, TryAgainLater
from multus.api.network import Delegate
from multus.api.request import Request
from multus.api.session import Session
from multus.registry.hooks import Hooks
from multus.testing.conformance.subject import Sample, Subject


@pytest.fixture
def conf(sample: Sample, conf_with: Callable[..., Conf]) -> Conf:
    if not sample.conf:
        pytest.skip("the sample has no 'conf' that makes it select a network")
    return conf_with(**sample.conf)


@pytest.fixture
def selecting(subject: Subject) -> Hooks:
    """Who selects: the plugin alone, or all of them when it only resolves what others select."""
    return (subject.alone if "multus_select" in subject.hooks else subject.together).hooks


def test_what_it_selects_is_resolved(
    subject: Subject, selecting: Hooks, conf: Conf, request_: Request, session: Session
) -> None:
    assert subject.alone.hooks.validate(conf) == []
    (selection,) = selecting.select(request_, conf, session)
    assert selection.elements and selection.origin
    for element in selection.elements:
        if selecting is subject.alone.hooks:
            assert element.source == subject.entry.name, "an element names its source"
        assert element.origin, "an element has an origin"
        # A name may be another plugin's to resolve: a file, or an object of the API.
        found = element.config or subject.together.hooks.resolve(element, request_, conf, session)
        assert isinstance(found, Mapping | Delegate), f"no installed plugin resolves {element}"


def test_asking_twice_gives_the_same(
    subject: Subject,
    selecting: Hooks,
    conf: Conf,
    request_: Request,
    new_session: Callable[[], Session],
) -> None:
    # A session caches reads, so the second request has its own session.
    sessions = (new_session(), new_session())
    first, second = (selecting.select(request_, conf, each) for each in sessions)
    assert first == second
    resolve = subject.together.hooks.resolve
    for element in first[0].elements:
        again = [resolve(element, request_, conf, each) for each in sessions]
        assert again[0] == again[1]


def test_a_source_that_is_away_fails_the_request(
    subject: Subject,
    sample: Sample,
    selecting: Hooks,
    conf_with: Callable[..., Conf],
    request_: Request,
    session: Session,
) -> None:
    if sample.away is None:
        pytest.skip("the sample has no 'away', so no service can be unreachable")
    conf = conf_with(**sample.away)
    with pytest.raises(CNIError) as caught:
        for selection in selecting.select(request_, conf, session):
            for element in selection.elements:
                subject.together.hooks.resolve(element, request_, conf, session)
    assert isinstance(caught.value, TryAgainLater | NotAvailable), (
        "a container must not start with fewer networks than requested: raise TryAgainLater"
    )
