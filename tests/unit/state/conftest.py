"""A journal, and files of it, for the tests of the state."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.state.records import CONF, FOUR, attachment, request

from multus.state.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(str(tmp_path / "deep" / "cni"))
    made.prepare()
    return made


@pytest.fixture
def whole(journal: Journal) -> bytes:
    """The text of a record with four networks, attached and finished."""
    writer = journal.begin(request(), CONF, FOUR)
    for index, each in enumerate(FOUR):
        writer.attached(index, attachment(each))
    writer.finished(attachment(FOUR[0]).result)
    return Path(writer.path).read_bytes()


@pytest.fixture
def small(journal: Journal) -> bytes:
    """The text of a record with two networks, attached."""
    writer = journal.begin(request(), CONF, FOUR[:2])
    for index, each in enumerate(FOUR[:2]):
        writer.attached(index, attachment(each))
    return Path(writer.path).read_bytes()
