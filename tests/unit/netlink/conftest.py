"""A network namespace for each test, and a channel into it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from multus.netlink import Channel, Namespace
from multus.testing.netns import Netns


@pytest.fixture
def netns() -> Iterator[Netns]:
    found = Netns.create("nl")
    yield found
    found.remove()


@pytest.fixture
def namespace(netns: Netns) -> Iterator[Namespace]:
    with Namespace(netns.path) as opened:
        yield opened


@pytest.fixture
def channel(namespace: Namespace) -> Iterator[Channel]:
    with namespace.channel() as opened:
        yield opened
