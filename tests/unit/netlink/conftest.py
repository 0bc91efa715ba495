"""A network namespace for each test, and a channel into it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from multus.api.execute import Executor, Finished
from multus.netlink import Channel, Message, Namespace, Refused
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


@pytest.fixture
def make(channel: Channel) -> Callable[[Message], None]:
    """Sends a message that creates something; skips the test when the kernel lacks this kind."""

    def send(message: Message) -> None:
        try:
            channel.request([message])
        except Refused as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENOENT):
                pytest.skip(
                    "this kernel lacks a kind of link (ipvlan, VLAN, dummy …), filter or queue"
                )
            raise

    return send


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that are run, one after the other."""
    found: list[str] = []
    original = Executor.run

    def counting(self: Executor, argv: Any, *arguments: Any) -> Finished:
        found.append(argv[0].rpartition("/")[2])
        return original(self, argv, *arguments)

    monkeypatch.setattr(Executor, "run", counting)
    return found
