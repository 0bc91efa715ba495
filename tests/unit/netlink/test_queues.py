"""Traffic control: limits and redirection, as `tc` shows them, and their effect on frames."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from multus.api.errors import InvalidConfig
from multus.netlink import Channel, Message, Namespace, Refused, create, links, queues
from multus.netlink.queues import Limit
from multus.testing.netns import Netns


@pytest.fixture
def pair(channel: Channel) -> tuple[int, int]:
    """The indexes of both ends of a veth, which are up."""
    replies = channel.request(
        [create.veth("a0", "a1", up=True), links.set_up("a1"), links.get("a0")]
    )
    return links.read_indexes(replies[2])


def shown(netns: Netns, *what: str) -> Any:
    return json.loads(netns.run("tc", "-j", "-d", *what))


@pytest.mark.parametrize("rate", [125_000, 2**32 + 5])
def test_a_limit_is_set_and_read(
    channel: Channel,
    pair: tuple[int, int],
    netns: Netns,
    make: Callable[[Message], None],
    rate: int,
) -> None:
    assert queues.limit_of(channel, pair[0]) is None
    bucket = Limit(rate, 100_000, 1_562_500)
    make(queues.limit(pair[0], bucket))
    assert queues.limit_of(channel, pair[0]) == bucket
    (queue,) = shown(netns, "qdisc", "show", "dev", "a0")
    options = queue["options"]
    assert (queue["kind"], queue["handle"], queue["root"]) == ("tbf", "1:", True)
    assert options["rate"] == rate


def test_what_an_interface_receives_is_redirected(
    channel: Channel,
    pair: tuple[int, int],
    netns: Netns,
    make: Callable[[Message], None],
) -> None:
    make(create.plain("ifb7", "ifb", up=True))
    other = links.find(channel, "ifb7")
    assert other is not None
    make(queues.receive(pair[0]))
    make(queues.redirect(pair[0], other.index))
    filters = shown(netns, "filter", "show", "dev", "a0", "parent", "ffff:")
    (action,) = filters[-1]["options"]["actions"]
    assert (action["direction"], action["to_dev"]) == ("egress", "ifb7")
    with Namespace(netns.path) as inside:
        with (
            inside.socket(socket.AF_PACKET, socket.SOCK_RAW) as sending,
            inside.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300) as listening,
        ):
            sending.bind(("a1", 0))
            listening.bind(("ifb7", 0x0003))
            listening.settimeout(5)
            frame = bytes.fromhex("ffffffffffff02000000000188b5") + b"redirected" * 5
            sending.send(frame)
            while listening.recv(2048) != frame:
                pass


def test_the_limit_of_an_interface_that_is_missing_is_an_error(channel: Channel) -> None:
    with pytest.raises(Refused):
        queues.limit_of(channel, 99)


def test_a_limit_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="the limit of a rate"):
        queues.limit(1, Limit(1, 2**32, 1))
