"""What holds for a source."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve

from multus.api.conf import Conf
from multus.api.errors import CNIError, NotAvailable, TryAgainLater
from multus.api.network import Delegate
from multus.api.request import Request
from multus.testing.conformance import Sample, Subject


@pytest.fixture
def conf(sample: Sample, conf_with: Callable[..., Conf]) -> Conf:
    if not sample.conf:
        pytest.skip("the sample has no 'conf' with which it selects something")
    return conf_with(**sample.conf)


def test_what_it_selects_it_resolves(subject: Subject, conf: Conf, request_: Request) -> None:
    hooks = subject.alone.hooks
    assert hooks.validate(conf) == []
    (selection,) = hooks.select(request_, conf)
    assert selection.elements and selection.origin
    for element in selection.elements:
        assert element.source == subject.entry.name, "an element says who selected it"
        assert element.origin, "an element says where it stands"
        assert element.config or isinstance(hooks.resolve(element, request_, conf), Delegate)


def test_asking_twice_gives_the_same(subject: Subject, conf: Conf, request_: Request) -> None:
    hooks = subject.alone.hooks
    # What a request has read it keeps, so the second is a request of its own.
    requests = (request_, evolve(request_, shared={}))
    first, second = (hooks.select(each, conf) for each in requests)
    assert first == second
    for element in first[0].elements:
        again = [hooks.resolve(element, each, conf) for each in requests]
        assert again[0] == again[1]


def test_a_source_that_is_away_fails_the_request(
    subject: Subject, sample: Sample, conf_with: Callable[..., Conf], request_: Request
) -> None:
    if sample.away is None:
        pytest.skip("the sample has no 'away': it asks nothing that could be")
    conf, hooks = conf_with(**sample.away), subject.alone.hooks
    with pytest.raises(CNIError) as caught:
        for selection in hooks.select(request_, conf):
            for element in selection.elements:
                hooks.resolve(element, request_, conf)
    assert isinstance(caught.value, TryAgainLater | NotAvailable), (
        "no container may come up with fewer networks than it asked for: raise TryAgainLater"
    )
