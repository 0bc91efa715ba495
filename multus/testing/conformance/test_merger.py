"""Tests for mergers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from multus.api.conf import Conf
from multus.api.network import Attachment
from multus.api.request import Request
from multus.api.result import Result
from multus.api.session import Session
from multus.api.versions import SUPPORTED
from multus.testing.conformance.subject import Sample, Subject


@pytest.fixture
def merged(
    subject: Subject,
    sample: Sample,
    conf_with: Callable[..., Conf],
    request_: Request,
    attachments: tuple[Attachment, ...],
    session: Session,
) -> Result:
    result = subject.alone.hooks.merge(attachments, request_, conf_with(**sample.conf), session)
    assert result is not None, "with its sample's 'conf' it makes no result"
    return result


@pytest.mark.parametrize("version", SUPPORTED)
def test_the_result_is_valid_in_every_version(merged: Result, version: str) -> None:
    assert Result.from_wire(merged.to_wire(version)).to_wire(version) == merged.to_wire(version)


def test_the_container_s_own_address_is_the_first(
    merged: Result, attachments: tuple[Attachment, ...]
) -> None:
    primary = next(each.result for each in attachments if each.delegate.primary)
    assert merged.ips[0].address == primary.ips[0].address


def test_one_attachment_without_a_result_is_answered_too(
    subject: Subject,
    sample: Sample,
    merged: Result,
    conf_with: Callable[..., Conf],
    request_: Request,
    attachments: tuple[Attachment, ...],
    session: Session,
) -> None:
    from attrs import evolve

    empty = evolve(attachments[0], result=Result())
    answer = subject.alone.hooks.merge((empty,), request_, conf_with(**sample.conf), session)
    assert answer is not None and answer.ips == ()
