"""Packets between the daemon's processes."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from descriptors import all_closed, copies
from waiting import PATIENCE

from multus.daemon.channel import Channel, Closed, TooLarge

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ends = Channel.pair()
    yield ends
    for end in ends:
        end.close()


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ({}, b""),
        ({"a": "ä\n\0", "b": [1.5, None, True]}, b"\0\xff"),
        ({"a": 1}, b"x" * (16 << 10)),
        ({"a": 1}, b"x" * ((16 << 10) + 1)),
        ({"a": 1}, os.urandom(9 << 20)),
        ({"error": "e" * (300 << 10)}, b""),
        ({"error": "e" * (60 << 10)}, b"x" * (16 << 10)),
    ],
    ids=["empty", "odd", "inline", "in-memory", "largest", "large-head", "both"],
)
def test_a_packet_arrives_whole_and_the_sender_does_not_wait(
    pair: Pair, head: dict[str, Any], body: bytes
) -> None:
    here, there = pair
    here.socket.setblocking(False)
    with all_closed():
        here.send(head, body)
        packet = there.receive()
    assert (packet.head, packet.body, packet.fds) == (head, body, ())


@pytest.mark.parametrize(
    ("head", "body"),
    [({"a": "x" * (16 << 20)}, b""), ({}, b"x" * (16 << 20)), ({"a": "é" * (3 << 20)}, b"")],
    ids=["head", "body", "escaped"],
)
def test_what_the_other_end_would_not_read_is_not_sent(
    pair: Pair, head: dict[str, Any], body: bytes
) -> None:
    here, there = pair
    with all_closed(), pytest.raises(TooLarge, match="make the request smaller"):
        here.send(head, body)
    here.send({"a": 1})
    assert there.receive().head == {"a": 1}


@pytest.mark.parametrize("size", [0, 1 << 20])
def test_descriptors_arrive_with_any_body_and_are_close_on_exec(pair: Pair, size: int) -> None:
    here, there = pair
    out, into = os.pipe()
    here.send({"a": 1}, b"x" * size, [into])
    os.close(into)
    packet = there.receive()
    (got,) = packet.fds
    assert len(packet.body) == size
    assert not os.get_inheritable(got)
    os.write(got, b"through")
    os.close(got)
    assert os.read(out, 10) == b"through"
    os.close(out)


def test_packets_keep_their_order_and_boundaries(pair: Pair) -> None:
    here, there = pair
    for number in range(50):
        here.send({"n": number}, b"%d" % number)
    assert [there.receive().head["n"] for _ in range(50)] == list(range(50))


def test_a_full_channel_raises_and_keeps_its_packets(pair: Pair) -> None:
    here, there = pair
    here.socket.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):
        while sent < 10_000:
            here.send({"n": sent})
            sent += 1
    assert [there.receive().head["n"] for _ in range(sent)] == list(range(sent))
    there.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        there.receive()


def test_a_closed_end_raises_for_send_and_receive(pair: Pair) -> None:
    here, there = pair
    here.send({"last": 1})
    here.close()
    assert there.receive().head == {"last": 1}
    with pytest.raises(Closed):
        there.receive()
    with pytest.raises(Closed):
        there.send({})
    with pytest.raises(Closed):
        here.send({})


def test_a_timeout_is_not_a_closed_end(pair: Pair) -> None:
    here, _ = pair
    here.socket.settimeout(0.01)
    with pytest.raises(TimeoutError):
        here.receive()


@pytest.mark.parametrize(
    "packet",
    [
        b"x",
        b"\0\0\0\x02",
        b"\0\0\0\x02[]",
        b"\0\0\0\x03{}x",
        b"\xff\xff\xff\xff{}",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x02\xff\xff",
        b"hostile words\n",
    ],
)
def test_a_malformed_datagram_closes_the_connection_only(pair: Pair, packet: bytes) -> None:
    """A plugin can write to every descriptor of its worker."""
    here, there = pair
    here.socket.send(packet)
    with pytest.raises(Closed):
        there.receive()


def test_descriptors_of_a_malformed_packet_are_closed(pair: Pair) -> None:
    here, there = pair
    with tempfile.TemporaryFile() as file:
        socket.send_fds(here.socket, [b"garbage"], [file.fileno()] * 4)
        with pytest.raises(Closed):
            there.receive()
        assert copies(file.fileno()) == 1


def test_a_sender_without_free_descriptors_gets_an_error(pair: Pair) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            pair[0].send({}, b"x" * (1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_receiver_is_woken(pair: Pair) -> None:
    here, there = pair
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(there.receive().head))
    thread.start()
    here.send({"a": 1})
    thread.join(PATIENCE)
    assert found == [{"a": 1}]


def _zeros() -> int:
    return os.open("/dev/zero", os.O_RDONLY)


def _sparse() -> int:
    descriptor = os.memfd_create("sparse")
    os.ftruncate(descriptor, 1 << 40)
    return descriptor


def _pipe() -> int:
    """A pipe with an open writer: reading from it blocks."""
    ends = os.pipe()
    both = os.open(f"/proc/self/fd/{ends[0]}", os.O_RDWR)
    for end in ends:
        os.close(end)
    return both


@pytest.mark.parametrize(
    "made",
    [_zeros, _sparse, lambda: os.open("/", os.O_RDONLY), _pipe],
    ids=["endless", "a tebibyte", "a directory", "a pipe"],
)
def test_another_kind_of_file_than_a_memfd_closes_the_connection_only(
    pair: Pair, made: Callable[[], int]
) -> None:
    here, there = pair
    with all_closed():
        descriptor = made()
        socket.send_fds(here.socket, [b"\xff\xff\xff\xff"], [descriptor])
        os.close(descriptor)
        with pytest.raises(Closed):
            there.receive()


def test_a_head_that_is_nested_too_deeply_is_malformed(pair: Pair) -> None:
    here, there = pair
    text = b"[" * 60000
    here.socket.send(len(text).to_bytes(4, "big") + text)
    with pytest.raises(Closed):
        there.receive()
