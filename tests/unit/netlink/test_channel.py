from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from multus.api.errors import KernelRefused
from multus.netlink import (
    Channel,
    Message,
    Namespace,
    Refused,
    Transport,
    create,
    links,
    open_channel,
    wire,
)
from multus.testing.netns import Netns


class Recorder(Transport):
    """Counts the messages of each datagram."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.datagrams: list[int] = []

    def send(self, messages: Sequence[bytes]) -> None:
        self.datagrams.append(len(messages))
        super().send(messages)


class Mute(Transport):
    """The kernel's answers get lost."""

    def receive(self) -> bytes:
        raise BlockingIOError(errno.EAGAIN, "nothing")


class Flooded(Transport):
    """The receive buffer overflows."""

    def receive(self) -> bytes:
        raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))


class Foreign(Transport):
    """Answers to other requests arrive in between."""

    def receive(self) -> bytes:
        stray = Message(wire.NLMSG_ERROR, 0, bytes(20), "").encode(999_999)
        return stray + super().receive()


def test_a_batch_is_one_datagram(namespace: Namespace) -> None:
    recorders: list[Recorder] = []

    def recording(sock: socket.socket) -> Recorder:
        recorders.append(Recorder(sock))
        return recorders[-1]

    with namespace.channel(transport=recording) as channel:
        channel.request([create.bridge("br0"), links.set_up("br0"), links.get("br0")])
    assert recorders[0].datagrams == [3]


def test_a_reply_stands_at_its_messages_place(channel: Channel) -> None:
    replies = channel.request([links.set_mtu("lo", 9000), links.get("lo"), links.set_up("lo")])
    assert [reply is None for reply in replies] == [True, False, True]
    assert links.read(replies[1]).mtu == 9000


def test_what_has_no_reply_is_not_read_as_a_link(channel: Channel) -> None:
    with pytest.raises(KernelRefused):
        links.read(channel.request([links.set_up("lo")])[0])


def test_a_message_that_fails_does_not_stop_the_ones_behind_it(channel: Channel) -> None:
    with pytest.raises(Refused) as caught:
        channel.request(
            [
                create.bridge("br0"),
                links.set_up("nosuch0"),
                create.bridge("br0"),
                links.set_mtu("br0", 1400),
            ]
        )
    assert (caught.value.position, caught.value.errno) == (1, errno.ENODEV)
    assert [(each.position, each.errno) for each in caught.value.refusals] == [
        (1, errno.ENODEV),
        (2, errno.EEXIST),
    ]
    assert "br0" in caught.value.details
    found = links.find(channel, "br0")
    assert found is not None
    assert found.mtu == 1400


def test_a_refusal_has_the_message_its_place_and_the_errno(channel: Channel) -> None:
    with pytest.raises(Refused) as caught:
        channel.request([links.set_up("lo"), links.set_down("nosuch0")])
    assert "nosuch0" in caught.value.msg
    assert "ENODEV" in caught.value.msg
    assert caught.value.position == 1
    assert caught.value.number == KernelRefused.code


def test_a_refusal_has_the_kernels_own_words(channel: Channel) -> None:
    channel.request([create.bridge("br0")])
    with pytest.raises(Refused) as caught:
        channel.request([links.set_mtu("br0", 70000)])
    assert "mtu greater than device maximum" in caught.value.msg


def test_an_expected_errno_counts_as_done(channel: Channel) -> None:
    assert channel.request([links.delete("nosuch0", missing_ok=True)]) == [None]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_refused_message_is_reported_at_any_position(channel: Channel, failing: int) -> None:
    messages = [links.set_mtu("lo", 2000 + at) for at in range(3)]
    messages[failing] = links.set_up("nosuch0")
    with pytest.raises(Refused) as caught:
        channel.request(messages)
    assert (caught.value.position, len(caught.value.refusals)) == (failing, 1)
    # No answer to that batch is left that could be mistaken for one to the next.
    assert channel.request([links.set_mtu("lo", 4000)]) == [None]


@pytest.mark.parametrize("last", ["lo", "nosuch0"])
def test_a_lookup_ends_a_batch_whether_or_not_it_finds(channel: Channel, last: str) -> None:
    asked = [links.get(name, missing_ok=True) for name in ("nosuch1", "lo", last)]
    assert [reply is None for reply in channel.request(asked)] == [True, False, last != "lo"]
    with pytest.raises(Refused) as caught:
        channel.request([links.set_up("lo"), links.get("nosuch0")])
    assert (caught.value.position, caught.value.errno) == (1, errno.ENODEV)
    # No answer to those batches is left that could be mistaken for one to the next.
    assert channel.request([links.set_mtu("lo", 4000)]) == [None]


@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 1000])
def test_every_acknowledgement_of_a_large_batch_is_read(channel: Channel, count: int) -> None:
    messages = [links.set_mtu("lo", 2000 + at) for at in range(count)]
    assert channel.request(messages) == [None] * count
    if count:
        found = links.find(channel, "lo")
        assert found is not None
        assert found.mtu == 2000 + count - 1


def test_every_error_of_a_large_batch_is_read(channel: Channel) -> None:
    with pytest.raises(Refused) as caught:
        channel.request([links.set_up(f"nosuch{at}") for at in range(500)])
    assert [each.position for each in caught.value.refusals] == list(range(500))


def test_large_messages_are_spread_over_datagrams(channel: Channel) -> None:
    # The kernel skips an attribute it does not know; this one makes a message of 30 KiB.
    ballast = wire.attribute(0x3000, bytes(30_000))
    large = [
        Message(each.kind, each.flags, each.body + ballast, each.words)
        for each in (links.set_mtu("lo", 3000 + at) for at in range(20))
    ]
    assert channel.request(large) == [None] * 20
    found = links.find(channel, "lo")
    assert found is not None
    assert found.mtu == 3019


def test_answers_to_others_are_left_alone(namespace: Namespace) -> None:
    with namespace.channel(transport=Foreign) as channel:
        assert channel.request([links.set_up("lo"), links.set_mtu("lo", 4000)]) == [None, None]
        assert [link.name for link in links.list_all(channel)] == ["lo"]


def test_a_kernel_that_does_not_answer_is_an_error(namespace: Namespace) -> None:
    with namespace.channel(transport=Mute) as channel:
        with pytest.raises(Refused) as caught:
            channel.request([links.set_up("lo")])
        assert caught.value.errno == errno.ETIMEDOUT
        with pytest.raises(Refused):
            links.list_all(channel)


def test_a_lost_answer_is_an_error(namespace: Namespace) -> None:
    with namespace.channel(transport=Flooded) as channel:
        with pytest.raises(Refused) as caught:
            channel.request([links.set_up("lo")])
        assert caught.value.errno == errno.ENOBUFS


def test_a_socket_that_cannot_send_is_an_error(namespace: Namespace) -> None:
    channel = namespace.channel()
    channel.close()
    with pytest.raises(Refused) as caught:
        channel.request([links.set_up("lo")])
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize(
    ("explained", "fix"),
    [
        ("ipv6: IPv6 is disabled on this device", "disable_ipv6"),
        ("IPv6 is disabled on nexthop device", "disable_ipv6"),
        ("mtu less than device minimum", "larger 'mtu'"),
        ("mtu greater than device maximum", "smaller 'mtu'"),
    ],
)
def test_what_a_configuration_can_mend_has_a_fix(explained: str, fix: str) -> None:
    refused = Refused(Message(1000, 0, b"", "add address fd00::1/64"), 0, errno.EACCES, explained)
    assert explained in refused.reason and fix in refused.fix
    assert Refused(refused.message, 0, errno.EACCES, "").fix == ""


def test_a_long_dump_is_complete(channel: Channel) -> None:
    channel.request([create.bridge(f"br{at}") for at in range(150)])
    names = {link.name for link in links.list_all(channel)}
    assert names == {"lo", *(f"br{at}" for at in range(150))}
    channel.request(links.delete_many(sorted(names - {"lo"})))
    assert [link.name for link in links.list_all(channel)] == ["lo"]


def test_a_dump_that_fails_is_an_error(channel: Channel) -> None:
    with pytest.raises(Refused) as caught:
        channel.dump(Message(1000, 0, bytes(16), "list what is unknown"))
    assert caught.value.errno == errno.EOPNOTSUPP


def test_a_channel_opens_where_its_thread_is(netns: Netns, namespace: Namespace) -> None:
    netns.ip("link", "add", "only0", "type", "bridge")
    with namespace.entered():
        channel = open_channel()
    with channel:
        assert links.find(channel, "only0") is not None
    with open_channel() as outside:
        assert links.find(outside, "only0") is None


def test_threads_work_in_their_namespaces_side_by_side() -> None:
    pods = [Netns.create("nl") for _ in range(8)]

    def work(number: int) -> None:
        with Namespace(pods[number].path) as inside, inside.channel() as channel:
            for at in range(20):
                name = f"b{number}-{at}"
                channel.request([create.bridge(name), links.set_mtu(name, 1300 + number)])

    try:
        with ThreadPoolExecutor(len(pods)) as pool:
            list(pool.map(work, range(len(pods))))
        for number, pod in enumerate(pods):
            found = {name: link.mtu for name, link in pod.links().items()}
            assert found == {f"b{number}-{at}": 1300 + number for at in range(20)}
    finally:
        for pod in pods:
            pod.remove()
